package gateway

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
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
	below    map[digest.Digest]string // the digests of the documents that a document names
	room     *portion                 // for that; kept while nobody searches
	complete time.Time                // until when there is nothing else to be found
	until    time.Time                // it is remembered
	busy     chan struct{}            // holds a value while somebody searches
}

// entryBytes is about what an entry of a map takes, without its strings.
const entryBytes = 128

// remember remembers what a document names. What is wider than there is memory
// for is not searched.
func (w *walk) remember(d digest.Digest, below []digest.Digest) ([]digest.Digest, error) {
	var joined strings.Builder // one copy, and not of the document's strings
	for _, b := range below {
		joined.WriteString(string(b) + " ")
	}
	size := int64(entryBytes + len(d) + joined.Cap())
	for !w.room.grow(size) {
		if !w.room.pool.giveUp(w.of, size) {
			w.below = nil
			w.room.release()
			return nil, &memoryError{w.of, "more is below its indexes than there is memory to search through; pull the bundle by its tag, or raise gateway.max_memory"}
		}
	}
	w.below[digest.Digest(strings.Clone(string(d)))] = joined.String()
	return digests(joined.String()), nil
}

// recall returns what a document names that was read before.
func (w *walk) recall(d digest.Digest) ([]digest.Digest, bool) {
	below, ok := w.below[d]
	return digests(below), ok
}

func digests(joined string) (all []digest.Digest) {
	for d := range strings.FieldsSeq(joined) {
		all = append(all, digest.Digest(d))
	}
	return all
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
	w := s.walk(right{q.repository, q.caller})
	select {
	case w.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if !w.room.use() {
		w.below = map[digest.Digest]string{}
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
