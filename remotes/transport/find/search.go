package find

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// search looks for content that the location cache does not lead to: in the
// indexes of the repository that were served before, then behind its tags. It
// returns missing when nothing names the content. tried are the places that were
// tried before. A tenant makes one search at a time. A request that waited for
// another's search first looks for what that added to the location cache, and
// continues a search that gave up.
func (f *Finder) search(ctx context.Context, q Request, missing error, tried nested.Places, try attempt) error {
	if f.options.SearchRequests == 0 {
		return missing
	}
	w, leave, err := f.searches.enter(ctx, q)
	if err != nil {
		return err
	}
	defer leave()
	s := &search{f: f, q: q, walked: w, try: try, tried: map[attemptKey]bool{}, seen: map[step]bool{}}
	s.markTried(tried)
	looks := !s.tryKnown(ctx) && time.Now().After(w.complete)
	if looks {
		err = s.look(ctx)
	}
	switch {
	case s.found:
		return nil
	case isMemoryError(err):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errSpent) && s.mayUseLocations() && len(f.locations.Roots(q.repository, 1)) > 0:
		return &Failure{http.StatusServiceUnavailable, "UNKNOWN", fmt.Sprintf(
			"%s@%s: nothing is known of it any more, and it was not found with %d requests; try again to search on, or pull the bundle again by its tag where it is new", q.repository, q.digest, f.options.SearchRequests)}
	case looks && err == nil && !s.failed:
		w.complete = time.Now().Add(completeTime)
	}
	return cmp.Or(s.failure, missing)
}

// search is one search.
type search struct {
	f       *Finder
	q       Request
	walked  *walk
	try     attempt
	tried   map[attemptKey]bool
	seen    map[step]bool
	claims  queues
	found   bool
	failure error // of a place that names the content but did not have it
	failed  bool  // something could not be read that may name the content
}

// attemptKey is where content was requested, and as what.
type attemptKey struct {
	repository auth.Repository
	mediaType  string
	size       int64
}

// markTried remembers what was tried, and reports whether any of it is new.
func (s *search) markTried(places nested.Places) (isNew bool) {
	for _, p := range places {
		f := p.Fields()
		for _, at := range slices.Concat(f.Targets, f.Fallbacks) {
			if at == s.q.repository && !slices.Contains(f.Targets, at) {
				continue // it was asked itself
			}
			key := attemptKey{at, f.Descriptor.MediaType, f.Descriptor.Size}
			isNew = isNew || !s.tried[key]
			s.tried[key] = true
		}
	}
	return isNew
}

// tryAt tries a place that names the content, if it is new.
func (s *search) tryAt(ctx context.Context, p nested.Place) bool {
	if s.found || !s.markTried(nested.Places{p}) {
		return s.found
	}
	b := budgetOf(ctx)
	left := b.requests.Load()
	b.unlimit() // this is the answer, not the search
	_, _, err := nested.Places{p}.Try(ctx, s.q.repository, nil, s.try)
	b.limit(left)
	if s.found = err == nil; err != nil && s.failure == nil {
		s.failure = err
	}
	return s.found
}

// look searches until the content is found: first what the repository's own
// indexes name, then what others name with half of the requests that are left,
// then what the tags name, then the rest of what others name. Errors: errSpent,
// memoryError, and those of the context.
func (s *search) look(ctx context.Context) error {
	b := budgetOf(ctx)
	b.limit(int64(s.f.options.SearchRequests))
	defer b.unlimit()
	if s.mayUseLocations() {
		for _, root := range s.f.locations.Roots(s.q.repository, locations.MaxRoots) {
			if err := s.walk(ctx, root); err != nil || s.found {
				return err
			}
		}
	}
	left := b.requests.Load()
	b.limit(left / 2)
	err := s.visitAll(ctx, &s.claims)
	b.limit(left - left/2 + b.requests.Load())
	if s.found || err != nil && !errors.Is(err, errSpent) {
		return err
	}
	if err := s.tags(ctx); err != nil || s.found {
		return err
	}
	return s.visitAll(ctx, &s.claims)
}

// mayUseLocations reports whether the caller may know what the location cache says.
func (s *search) mayUseLocations() bool { return !s.f.options.PerCaller || s.f.rights.granted(s.q) }

// tryKnown tries the places that the location cache knows by now.
func (s *search) tryKnown(ctx context.Context) bool {
	if s.mayUseLocations() {
		for _, p := range s.f.locations.Places(s.q.repository, s.q.digest) {
			if s.tryAt(ctx, p) {
				return true
			}
		}
	}
	return false
}

// endsWith reports whether an error ends the search, not only this branch.
func (s *search) endsWith(ctx context.Context, err error) bool {
	if errors.Is(err, errSpent) || isMemoryError(err) || ctx.Err() != nil {
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
		if !s.endsWith(ctx, err) {
			err = nil // treated as no tags
		}
		return err
	}
	for _, tag := range slices.Backward(names) {
		q := s.q
		q.tag, q.digest = tag, ""
		c, err := s.f.headTag(ctx, q)
		if s.endsWith(ctx, err) {
			return err
		}
		if err != nil || c.close() != nil || !images.IsIndexType(c.mediaType) {
			continue
		}
		p, known := s.f.locations.Place(s.q.repository, c.digest)
		if !known || !p.Own(s.q.repository) {
			p = c.at(plain(s.q.repository, c.digest))
		}
		if err := s.walk(ctx, p); err != nil || s.found {
			return err
		}
	}
	return nil
}

// list returns the tags of the repository, of the first page at least.
func (s *search) list(ctx context.Context) ([]string, error) {
	resp, err := s.f.upstream.do(ctx, s.q.repository, query{method: http.MethodGet, kind: Tags, reference: "list", accept: "application/json"})
	if err != nil {
		return nil, err
	}
	data, memory, err := s.f.readList(ctx, s.q, resp)
	if err != nil {
		return nil, err
	}
	defer memory.Release()
	decoded, err := take(ctx, s.f.memory.decoded, decodedFactor*int64(len(data)))
	if err != nil {
		return nil, err
	}
	defer decoded.Release()
	var page struct{ Tags []string }
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, fmt.Errorf("%s: its list of tags: %w", s.q.repository, err)
	}
	names := slices.DeleteFunc(page.Tags, func(tag string) bool { return !auth.IsTag(tag) })
	return slices.Clone(names[max(0, len(names)-s.f.options.SearchRequests):]), nil // there are no requests for more
}

// walk follows a manifest or index of the repository and what its own ones name,
// until the content is found. What others name comes later.
func (s *search) walk(ctx context.Context, p nested.Place) error {
	var own queues
	if err := s.visit(ctx, &own, p); err != nil {
		return err
	}
	return s.visitAll(ctx, &own)
}

// visitAll visits what is queued, at the places that the location cache has from
// who named it. The queues take turns: a repository can name as much as it likes,
// and must not keep others from being visited.
func (s *search) visitAll(ctx context.Context, queue *queues) error {
	for !s.found {
		d, by, ok := queue.next()
		if !ok {
			break
		}
		for _, p := range s.f.locations.Places(s.q.repository, d) {
			if p.By() != by || s.found {
				continue
			}
			if err := s.visit(ctx, queue, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit queues the manifests and indexes that one names: those that the repository
// itself speaks of here, the others among the claims.
func (s *search) visit(ctx context.Context, queue *queues, p nested.Place) error {
	below, err := s.below(ctx, p)
	if by := p.Speaks(); by == s.q.repository {
		queue.add(s.q.repository, named{by, below})
	} else {
		s.claims.add(s.q.repository, named{by, below})
	}
	return err
}

// below returns the manifests and indexes that one names. It is followed unless a
// search has done so before. Errors end the search.
func (s *search) below(ctx context.Context, p nested.Place) (string, error) {
	at := stepOf(p)
	if s.seen[at] {
		return "", nil
	}
	s.seen[at] = true
	if below, ok := s.walked.below[at]; ok {
		return below, nil
	}
	c, err := s.f.fetchAny(ctx, s.q, p)
	var found []nested.Place
	if err == nil {
		found, err = s.f.learn(ctx, s.q, p, c, c.served)
		err = errors.Join(err, c.close()) // what is tried below needs memory, too
	}
	if s.endsWith(ctx, err) {
		return "", err
	} else if err != nil {
		return "", nil
	}
	var below []digest.Digest
	for _, next := range found {
		desc := next.Descriptor()
		if desc.Digest == s.q.digest && s.mayUseLocations() && s.tryAt(ctx, next) {
			return "", nil
		}
		if next.Strict() && oci.IsManifestOrIndex(desc.MediaType) {
			below = append(below, desc.Digest)
		}
	}
	return s.walked.remember(at, below)
}
