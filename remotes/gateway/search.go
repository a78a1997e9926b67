package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// tryPlaces tries where the content of a request may be, each place when the
// one before did not have it: what the trail says, the repository itself, what
// a search finds. The error is that of the first.
func (g *Gateway) tryPlaces(ctx context.Context, q request, try func(p nested.Place, known bool) error) error {
	p, known, err := g.place(ctx, q, q.digest)
	if err != nil {
		return err
	}
	missing := try(p, known)
	if !errdefs.IsNotFound(missing) {
		return missing
	}
	if known && !slices.Contains(p.Targets, q.repository) && !slices.Contains(p.Fallbacks, q.repository) {
		if err = try(plain(q.repository, q.digest), true); !errdefs.IsNotFound(err) {
			return err
		}
	}
	if known {
		return missing // a search would find the same place
	}
	if q.kind == manifests {
		if carried, ok := g.findCarried(ctx, q); ok {
			return try(carried, true)
		}
	}
	if p, err = g.search(ctx, q, missing); err != nil {
		return err
	}
	return try(p, true)
}

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

// maxProofs bounds the indexes that are asked for to find out what a caller
// may read. Older ones may be gone.
const maxProofs = 3

// mayLook tells whether a caller may read a repository: when he was served a
// tag of it a moment ago, or else when the registry shows him an index in it.
func (g *Gateway) mayLook(ctx context.Context, q request) (bool, error) {
	if g.rights.granted(q) {
		return true, nil
	}
	roots := g.trail.Roots(q.repository)
	for _, root := range roots[:min(len(roots), maxProofs)] {
		ask := query{method: http.MethodHead, kind: manifests, reference: root.Descriptor.Digest.String(), accept: accept(root.Descriptor.MediaType)}
		if root.Carried {
			ask.kind = blobs
		}
		resp, err := g.upstream.do(ctx, q.repository, ask)
		if isMethodNotAllowed(err) {
			ask.method = http.MethodGet
			resp, err = g.upstream.do(ctx, q.repository, ask)
		}
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
	mu     sync.Mutex
	all    map[right]time.Time
	purged time.Time
}

type right struct {
	repository auth.Repository
	caller     caller
}

// bytes is about what it takes to keep something of a right.
func (r right) bytes() int64 { return 1<<10 + int64(len(r.caller.username)+len(r.caller.password)) }

// maxRights bounds what is remembered.
const maxRights = 10_000

func (r *rights) grant(q request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= maxRights {
		r.all = map[right]time.Time{}
	}
	now := time.Now()
	if now.Sub(r.purged) > rightsTime { // they hold secrets
		maps.DeleteFunc(r.all, func(_ right, until time.Time) bool { return now.After(until) })
		r.purged = now
	}
	r.all[right{q.repository, q.caller}] = now.Add(rightsTime)
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
// finds on the trail what it learnt, and one that gave up is gone on with by
// the next.
func (g *Gateway) search(ctx context.Context, q request, missing error) (nested.Place, error) {
	if g.options.SearchRequests == 0 {
		return nested.Place{}, missing
	}
	w, err := g.searches.enter(ctx, q)
	if err != nil {
		return nested.Place{}, err
	}
	defer g.searches.leave(w)
	s := &search{g: g, q: q, walked: w}
	looks := !s.found() && time.Now().After(w.complete)
	if looks {
		err = s.look(ctx)
	}
	switch p, ok := g.trail.Place(q.repository, q.digest); {
	case ok && s.may():
		return p, nil
	case errors.Is(err, errSpent) && len(g.trail.Roots(q.repository)) > 0:
		return nested.Place{}, &failure{http.StatusServiceUnavailable, "UNKNOWN", fmt.Sprintf(
			"%s@%s: nothing is known of it any more, and it was not found with %d requests; try again to search on, or pull the bundle again by its tag where it is new", q.repository, q.digest, g.options.SearchRequests)}
	case refused(err):
		return nested.Place{}, err
	case ctx.Err() != nil:
		return nested.Place{}, context.Cause(ctx)
	case looks && err == nil && !s.failed:
		w.complete = time.Now().Add(completeTime)
	}
	return nested.Place{}, missing
}

// search is one search on its way.
type search struct {
	g      *Gateway
	q      request
	walked *walk
	failed bool // somewhere it could not be found out
}

// look looks everywhere until the content is found. Errors are errSpent,
// those of memory that is not there, and those of the context.
func (s *search) look(ctx context.Context) error {
	b := budgetOf(ctx)
	b.limit(s.g.options.SearchRequests)
	defer b.unlimit()
	if s.may() {
		for _, root := range s.g.trail.Roots(s.q.repository) {
			if err := s.walk(ctx, root); err != nil || s.found() {
				return err
			}
		}
	}
	return s.tags(ctx)
}

// may tells whether the caller may know what the trail says.
func (s *search) may() bool { return s.g.options.Mode != Pod || s.g.rights.granted(s.q) }

// found tells whether the trail knows the content by now.
func (s *search) found() bool {
	_, ok := s.g.trail.Place(s.q.repository, s.q.digest)
	return ok && s.may()
}

// ends tells whether an error ends the search. Any other leads nowhere: what
// cannot be read in one place says nothing of the next.
func (s *search) ends(ctx context.Context, err error) bool {
	if errors.Is(err, errSpent) || refused(err) || ctx.Err() != nil {
		return true
	}
	var denied *auth.DeniedError
	var invalid *nested.InvalidError
	s.failed = s.failed || err != nil && !errdefs.IsNotFound(err) && !errors.As(err, &denied) && !errors.As(err, &invalid)
	return false
}

// tags walks from what the tags of the repository name, the last ones first.
func (s *search) tags(ctx context.Context) error {
	names, err := s.list(ctx)
	if err != nil {
		if !s.ends(ctx, err) {
			err = nil // as good as none
		}
		return err
	}
	for _, tag := range slices.Backward(names) {
		q := s.q
		q.tag, q.digest = tag, ""
		d, err := s.g.headTag(ctx, q)
		if s.ends(ctx, err) {
			return err
		}
		if err != nil || d.close() != nil || !images.IsIndexType(d.mediaType) {
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
		return nil, err
	}
	data, room, err := s.g.readList(ctx, s.q, resp)
	if err != nil {
		return nil, err
	}
	defer room.release()
	decoded, err := take(ctx, &s.g.memory.decoded, decodedFactor*int64(len(data)))
	if err != nil {
		return nil, err
	}
	defer decoded.release()
	var page struct{ Tags []string }
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, fmt.Errorf("%s: its list of tags: %w", s.q.repository, err)
	}
	names := slices.DeleteFunc(page.Tags, func(tag string) bool { return !tagPattern.MatchString(tag) })
	return slices.Clone(names[max(0, len(names)-s.g.options.SearchRequests):]), nil // for more there are no requests
}

// walk follows a document and those below it, until the content is found.
// Where those below are the trail knows: it has learnt it of who named them.
func (s *search) walk(ctx context.Context, p nested.Place) error {
	seen := map[digest.Digest]bool{}
	todo := []digest.Digest{p.Descriptor.Digest}
	for len(todo) > 0 && !s.found() {
		next := p
		if d := todo[0]; d != p.Descriptor.Digest {
			next, _ = s.g.trail.Place(s.q.repository, d)
		}
		if todo = todo[1:]; next.Targets == nil || seen[next.Descriptor.Digest] {
			continue
		}
		seen[next.Descriptor.Digest] = true
		below, err := s.below(ctx, next)
		if s.ends(ctx, err) {
			return err
		}
		todo = append(todo, below...)
	}
	return nil
}

// below returns the documents that one names, which is followed unless a
// search has done so before.
func (s *search) below(ctx context.Context, p nested.Place) ([]digest.Digest, error) {
	if below, ok := s.walked.recall(p.Descriptor.Digest); ok {
		return below, nil
	}
	d, found, err := s.g.load(ctx, s.q, p)
	if err != nil {
		return nil, err
	}
	defer d.close()
	below := []digest.Digest{}
	for _, next := range found {
		if next.Strict && nested.IsDocument(next.Descriptor.MediaType) {
			below = append(below, next.Descriptor.Digest)
		}
	}
	return s.walked.remember(p.Descriptor.Digest, below)
}
