package transport

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

const (
	// completeTime is for how long a search that found nothing is not made
	// again. What is published in the meantime is seen when its tag is asked for.
	completeTime = time.Minute
	// walkTime is for how long a search that gave up can be gone on with.
	walkTime = 10 * time.Minute
	// maxWalks bounds the searches that are remembered, besides those that are
	// being made: so many callers come back to a repository within walkTime.
	maxWalks = 64
)

// walk is what searches in a repository for a caller have read so far.
type walk struct {
	of       right
	below    map[step]string // the digests of the documents that a document names
	room     *portion        // for that; idle while nobody searches
	complete time.Time       // until when there is nothing else to be found
	until    time.Time       // it is remembered
}

// entryBytes is about what an entry of a map takes, without its strings.
const entryBytes = 128

// step is a document in a repository: what it names is below that.
type step struct {
	in     auth.Repository
	digest digest.Digest
	size   int64 // that it is said to have
}

func stepOf(p nested.Place) step {
	d := p.Detached().Descriptor()
	return step{p.First(), d.Digest, d.Size}
}

// remember remembers what a document names. What is wider than there is memory
// for is not searched.
func (w *walk) remember(s step, below []digest.Digest) (string, error) {
	var joined strings.Builder // one copy, and not of the document's strings
	for _, b := range below {
		joined.WriteString(string(b) + " ")
	}
	size := int64(entryBytes + len(s.digest) + joined.Cap())
	if !w.room.GrowEvicting(size) {
		w.below = map[step]string{}
		w.room.Release()
		return "", &memoryError{w.of, "more is below its indexes than there is memory to search through; pull the bundle by its tag, or raise gateway.max_memory"}
	}
	w.below[s] = joined.String()
	return joined.String(), nil
}

// named are documents that one names, by the repository of that.
type named struct {
	by      auth.Repository
	digests string // with a space behind each
}

// queues are what is still to be read, by the first component below a
// repository of who named it. They take turns.
type queues struct {
	names []string
	all   map[string][]named
}

func (c *queues) add(parent auth.Repository, n named) {
	if n.digests == "" {
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(n.by.Name(), parent.Name()), "/"), "/")
	if c.all == nil {
		c.all = map[string][]named{}
	}
	if len(c.all[name]) == 0 {
		c.names = append(c.names, name)
	}
	c.all[name] = append(c.all[name], n)
}

// next takes one document out.
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

// searches lets one search at a time into a repository for a caller.
type searches struct {
	memory *pool
	turns  flight.Turns[right]

	mu     sync.Mutex
	idle   map[right]*walk // that nobody searches with
	closed bool
}

// enter waits for its turn, which leave ends. What was given up since the last
// search is read anew.
func (s *searches) enter(ctx context.Context, q Request) (w *walk, leave func(), err error) {
	end, err := s.turns.Take(ctx, q.right())
	if err != nil {
		return nil, nil, err
	}
	w = s.take(q.right())
	return w, func() { s.put(w); end() }, nil
}

// take takes out what is remembered of a search; it may be nothing.
func (s *searches) take(k right) *walk {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.idle[k]
	delete(s.idle, k)
	if ok && time.Now().Before(w.until) && w.room.Use() {
		return w
	}
	if ok {
		w.room.Release()
	}
	return &walk{of: k, below: map[step]string{}, room: s.memory.TakeNone(k)}
}

// put remembers a search that has ended.
func (s *searches) put(w *walk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		w.room.Release()
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
		s.idle = map[right]*walk{}
	}
	s.idle[w.of] = w
	w.room.Idle(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(w)
	})
}

// drop gives a search up, unless somebody makes it or it is another by now. The
// caller holds the lock.
func (s *searches) drop(w *walk) {
	if s.idle[w.of] == w {
		w.room.Release()
		delete(s.idle, w.of)
	}
}

// close gives up all, for good.
func (s *searches) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, w := range s.idle {
		s.drop(w)
	}
}
