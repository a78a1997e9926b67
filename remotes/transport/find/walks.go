package find

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

const (
	// completeTime is how long a search that found nothing is not repeated, unless
	// a tag is requested: what is published in the meantime is behind one.
	completeTime = time.Minute
	// walkTime is how long a search that gave up can be continued.
	walkTime = 10 * time.Minute
	// maxWalks bounds the searches that are remembered, besides those that are
	// going on: few callers come back to a repository within walkTime.
	maxWalks = 64
)

// walk is what the searches of a tenant have read so far.
type walk struct {
	tenant   tenant
	below    map[step]string // the digests of the manifests and indexes that one names
	memory   *portion        // for that; idle between searches
	complete time.Time       // until then it is assumed to be all
	until    time.Time       // then it is forgotten
}

// entryBytes is about what an entry of a map takes, without its strings.
const entryBytes = 128

// step is a manifest or index in a repository: what it names is below that.
type step struct {
	in     auth.Repository
	digest digest.Digest
	size   int64 // as described
}

func stepOf(p nested.Place) step {
	d := p.Detached().Descriptor()
	return step{p.First(), d.Digest, d.Size}
}

// remember remembers what a manifest or index names. What is wider than there is
// memory for is not searched.
func (w *walk) remember(s step, below []digest.Digest) (string, error) {
	var joined strings.Builder // one copy, so that the decoded index can be collected
	for _, b := range below {
		joined.WriteString(string(b) + " ")
	}
	size := int64(entryBytes + len(s.digest) + joined.Cap())
	if !w.memory.GrowEvicting(size) {
		w.below = map[step]string{}
		w.memory.Release()
		return "", &memoryError{w.tenant, "more is below its indexes than there is memory to search through; pull the bundle by its tag, or raise gateway.max_memory"}
	}
	w.below[s] = joined.String()
	return joined.String(), nil
}

// named are manifests and indexes that one names, by the repository of that.
type named struct {
	by      auth.Repository
	digests string // with a space behind each
}

// queues are what is still to be read, by the first component below the
// searched repository of the repository that named it. They take turns.
type queues struct {
	names []string
	all   map[string][]named
}

func (c *queues) add(parent auth.Repository, n named) {
	if n.digests == "" {
		return
	}
	name, _, _ := strings.Cut(oci.Below(parent, n.by), "/")
	if c.all == nil {
		c.all = map[string][]named{}
	}
	if len(c.all[name]) == 0 {
		c.names = append(c.names, name)
	}
	c.all[name] = append(c.all[name], n)
}

// next takes one out.
func (c *queues) next() (d digest.Digest, by auth.Repository, ok bool) {
	if len(c.names) == 0 {
		return "", by, false
	}
	name := c.names[0]
	first := &c.all[name][0]
	one, rest, _ := strings.Cut(first.digests, " ")
	by, first.digests = first.by, rest
	if rest == "" {
		c.all[name] = c.all[name][1:]
	}
	if c.names = c.names[1:]; len(c.all[name]) > 0 {
		c.names = append(c.names, name)
	}
	return digest.Digest(one), by, true
}

// searches gives each tenant one search at a time.
type searches struct {
	memory *pool
	turns  flight.Turns[tenant]

	mu     sync.Mutex
	idle   map[tenant]*walk // that nobody searches with
	closed bool
}

// enter waits for the tenant's turn, which leave ends. What was evicted since the
// last search is read anew.
func (s *searches) enter(ctx context.Context, q Request) (w *walk, leave func(), err error) {
	end, err := s.turns.Take(ctx, q.tenant())
	if err != nil {
		return nil, nil, err
	}
	w = s.take(q.tenant())
	return w, func() { s.put(w); end() }, nil
}

// take takes out what is remembered of the tenant's searches, which may be nothing.
func (s *searches) take(k tenant) *walk {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.idle[k]
	delete(s.idle, k)
	if ok && time.Now().Before(w.until) && w.memory.Use() {
		return w
	}
	if ok {
		w.memory.Release()
	}
	return &walk{tenant: k, below: map[step]string{}, memory: s.memory.TakeNone(k)}
}

// again lets the tenant's next search look at everything once more.
func (s *searches) again(k tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.idle[k]; w != nil {
		w.complete = time.Time{}
	}
}

// put remembers a search that has ended.
func (s *searches) put(w *walk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		w.memory.Release()
		return
	}
	now := time.Now()
	w.until = now.Add(walkTime)
	for _, old := range s.idle {
		if now.After(old.until) {
			s.drop(old)
		}
	}
	if len(s.idle) >= maxWalks {
		s.drop(slices.MinFunc(slices.Collect(maps.Values(s.idle)), func(a, b *walk) int { return a.until.Compare(b.until) }))
	}
	if s.idle == nil {
		s.idle = map[tenant]*walk{}
	}
	s.idle[w.tenant] = w
	w.memory.Idle(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(w)
	})
}

// drop forgets a walk, unless it is in use or replaced by now. The caller holds the
// lock.
func (s *searches) drop(w *walk) {
	if s.idle[w.tenant] == w {
		w.memory.Release()
		delete(s.idle, w.tenant)
	}
}

// close forgets all, for good.
func (s *searches) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, w := range s.idle {
		s.drop(w)
	}
}
