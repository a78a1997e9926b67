package gateway

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

const (
	// completeTime is for how long a search that found nothing is not made
	// again. What is published in the meantime is seen when its tag is asked for.
	completeTime = time.Minute
	// walkTime is for how long a search that gave up can be gone on with.
	walkTime = 10 * time.Minute
	// maxWalks bounds the searches that are remembered.
	maxWalks = 64
)

// walk is what searches in a repository for a caller have read so far.
type walk struct {
	of       right
	below    map[step]string // the digests of the documents that a document names
	room     *portion        // for that; kept while nobody searches
	complete time.Time       // until when there is nothing else to be found
	until    time.Time       // it is remembered
	busy     chan struct{}   // holds a value while somebody searches
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
	return step{p.Targets[0], digest.Digest(strings.Clone(string(p.Descriptor.Digest))), p.Descriptor.Size}
}

// remember remembers what a document names. What is wider than there is memory
// for is not searched.
func (w *walk) remember(s step, below []digest.Digest) (string, error) {
	var joined strings.Builder // one copy, and not of the document's strings
	for _, b := range below {
		joined.WriteString(string(b) + " ")
	}
	size := int64(entryBytes + len(s.digest) + joined.Cap())
	for !w.room.grow(size) {
		if !w.room.pool.giveUp(w.of, size) {
			w.below = map[step]string{}
			w.room.release()
			return "", &memoryError{w.of, "more is below its indexes than there is memory to search through; pull the bundle by its tag, or raise gateway.max_memory"}
		}
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
	name, _, _ := strings.Cut(relative(parent, []auth.Repository{n.by})[0], "/")
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

	mu     sync.Mutex
	all    map[right]*walk
	closed bool
}

// enter waits for its turn, which leave ends. What was given up since the last
// search is read anew.
func (s *searches) enter(ctx context.Context, q request) (*walk, error) {
	w := s.walk(q.right())
	select {
	case w.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if !w.room.use() {
		w.below = map[step]string{}
	}
	return w, nil
}

func (s *searches) leave(w *walk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.all[w.of] != w {
		w.room.release()
	} else {
		w.room.keep(func() { s.forget(w) })
	}
	<-w.busy
}

func (s *searches) walk(k right) *walk {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, w := range s.all {
		if (now.After(w.until) || len(s.all) >= maxWalks && s.all[k] == nil) && len(w.busy) == 0 {
			s.drop(w)
		}
	}
	w, ok := s.all[k]
	if !ok {
		if s.all == nil || len(s.all) >= maxWalks {
			s.all = map[right]*walk{}
		}
		w = &walk{of: k, room: &portion{pool: s.memory, of: k}, busy: make(chan struct{}, 1)}
		s.all[k] = w
	}
	w.until = now.Add(walkTime)
	return w
}

// forget gives a walk up.
func (s *searches) forget(w *walk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(w)
}

// drop is forget. The caller holds the lock.
func (s *searches) drop(w *walk) {
	w.room.release()
	if s.all[w.of] == w {
		delete(s.all, w.of)
	}
}

// close gives up all, for good.
func (s *searches) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, w := range s.all {
		if len(w.busy) == 0 {
			s.drop(w)
		}
	}
}
