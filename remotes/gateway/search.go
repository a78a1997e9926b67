package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// place returns where content is that is asked for in a repository: what the
// trail says, or else the repository itself. In mode Pod the trail is only for
// callers who may read the repository; whether they may is found out before
// the look, so that the answer tells them nothing.
func (g *Gateway) place(ctx context.Context, q request, d digest.Digest) (p nested.Place, known bool, err error) {
	if g.options.Mode == Pod {
		if may, err := g.mayLook(ctx, q); !may || err != nil {
			return plain(q.repository, d), false, err
		}
	}
	if p, known = g.trail.Place(q.repository, d); known {
		return p, true, nil
	}
	return plain(q.repository, d), false, nil
}

// mayLook tells whether a caller may read a repository: when he was served a
// tag of it a moment ago, or else when the registry shows him an index in it.
func (g *Gateway) mayLook(ctx context.Context, q request) (bool, error) {
	if g.rights.granted(q) {
		return true, nil
	}
	for _, root := range g.trail.Roots(q.repository) {
		ask := query{method: http.MethodHead, kind: manifests, reference: root.Descriptor.Digest.String(), accept: accept(root.Descriptor.MediaType)}
		if root.Carried {
			ask.kind = blobs
		}
		resp, err := g.upstream.do(ctx, q.repository, ask)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err == nil {
			err = resp.Body.Close()
			g.rights.grant(q)
		}
		return err == nil, err
	}
	return false, nil // there is no trail to look at
}

// rightsTime is how long a caller is believed to have kept a right.
const rightsTime = time.Minute

// rights remembers which callers may read which repositories.
type rights struct {
	mu  sync.Mutex
	all map[right]time.Time
}

type right struct {
	repository auth.Repository
	caller     caller
}

// maxRights bounds what is remembered.
const maxRights = 10_000

func (r *rights) grant(q request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= maxRights {
		r.all = map[right]time.Time{}
	}
	r.all[right{q.repository, q.caller}] = time.Now().Add(rightsTime)
}

func (r *rights) granted(q request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.all[right{q.repository, q.caller}])
}

// search looks for content of which the trail knows nothing: in the indexes
// of the repository that were served before, then behind its tags. missing is
// the repository's own answer, and the error when nothing names the content.
// One search at a time is made in a repository for a caller; who waits for it
// finds on the trail what it learnt.
func (g *Gateway) search(ctx context.Context, q request, missing error) (nested.Place, error) {
	done, err := g.searches.enter(ctx, q)
	if err != nil {
		return nested.Place{}, err
	}
	defer done()
	b := budgetOf(ctx)
	b.limit(g.options.SearchRequests)
	defer b.unlimit()
	s := search{g: g, q: q, seen: map[digest.Digest]bool{}}
	for _, look := range []func(context.Context) error{s.roots, s.tags} {
		err := look(ctx)
		if p, ok := g.trail.Place(q.repository, q.digest); ok {
			return p, nil
		}
		switch {
		case errors.Is(err, errSpent):
			return nested.Place{}, &failure{http.StatusServiceUnavailable, "UNKNOWN", fmt.Sprintf(
				"%s@%s: nothing is known of it any more, and it was not found with %d requests; pull the bundle again by its tag", q.repository, q.digest, g.options.SearchRequests)}
		case err != nil && ctx.Err() != nil:
			return nested.Place{}, context.Cause(ctx)
		case err != nil:
			return nested.Place{}, err
		}
	}
	return nested.Place{}, missing
}

// search is one search on its way.
type search struct {
	g    *Gateway
	q    request
	seen map[digest.Digest]bool
}

// found tells whether the trail knows the content by now.
func (s *search) found() bool {
	_, ok := s.g.trail.Place(s.q.repository, s.q.digest)
	return ok
}

// roots walks from the indexes that were found in the repository.
func (s *search) roots(ctx context.Context) error {
	for _, root := range s.g.trail.Roots(s.q.repository) {
		if err := s.walk(ctx, root); err != nil || s.found() {
			return err
		}
	}
	return nil
}

// tags walks from what the tags of the repository name, the last ones first.
func (s *search) tags(ctx context.Context) error {
	names, err := s.list(ctx)
	if err != nil {
		return err
	}
	for _, tag := range slices.Backward(names) {
		q := s.q
		q.tag, q.digest = tag, ""
		d, err := s.g.headTag(ctx, q)
		switch {
		case errdefs.IsNotFound(err):
			continue
		case err != nil:
			return err
		}
		if err := d.close(); err != nil || !images.IsIndexType(d.mediaType) {
			continue
		}
		p, known := s.g.trail.Place(s.q.repository, d.digest)
		if !known {
			p = d.at(plain(s.q.repository, d.digest))
		}
		if err := s.walk(ctx, p); err != nil || s.found() {
			return err
		}
	}
	return nil
}

// list returns the tags of the repository, of the first page at least.
func (s *search) list(ctx context.Context) ([]string, error) {
	resp, err := s.g.upstream.do(ctx, s.q.repository, query{method: http.MethodGet, kind: tags, reference: "list", accept: "application/json"})
	if err != nil {
		if errdefs.IsNotFound(err) {
			err = nil // a repository without tags
		}
		return nil, err
	}
	defer resp.Body.Close()
	var page struct{ Tags []string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxList)).Decode(&page); err != nil {
		return nil, fmt.Errorf("%s: its list of tags: %w", s.q.repository, err)
	}
	return slices.DeleteFunc(page.Tags, func(tag string) bool { return !tagPattern.MatchString(tag) }), nil
}

// walk follows a document and those below it, until the content is found. What
// a repository does not have or does not give leads nowhere.
func (s *search) walk(ctx context.Context, p nested.Place) error {
	todo := []nested.Place{p}
	for len(todo) > 0 && !s.found() {
		p, todo = todo[0], todo[1:]
		if s.seen[p.Descriptor.Digest] {
			continue
		}
		s.seen[p.Descriptor.Digest] = true
		below, err := s.read(ctx, p)
		if err != nil {
			return err
		}
		todo = append(todo, below...)
	}
	return nil
}

// read fetches and follows one document, and returns those that it names.
func (s *search) read(ctx context.Context, p nested.Place) ([]nested.Place, error) {
	d, err := s.g.load(ctx, s.q, p)
	var denied *auth.DeniedError
	if errdefs.IsNotFound(err) || errors.As(err, &denied) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !d.whole() {
		return nil, d.close()
	}
	found, isNested, err := s.g.rule.Follow(d.at(p), d.data, p.Targets[0])
	if err != nil || !isNested && !p.Strict {
		return nil, err
	}
	return slices.DeleteFunc(found, func(p nested.Place) bool {
		return !images.IsIndexType(p.Descriptor.MediaType) && !images.IsManifestType(p.Descriptor.MediaType)
	}), nil
}

// searches lets one search at a time into a repository for a caller.
type searches struct {
	mu  sync.Mutex
	all map[right]chan struct{}
}

// enter waits for its turn. done ends it.
func (s *searches) enter(ctx context.Context, q request) (done func(), err error) {
	k := right{q.repository, q.caller}
	for {
		s.mu.Lock()
		running, ok := s.all[k]
		if !ok {
			mine := make(chan struct{})
			if s.all == nil {
				s.all = map[right]chan struct{}{}
			}
			s.all[k] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.all, k)
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
