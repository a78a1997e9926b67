package gateway

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/nested"
)

const (
	// completeTime is for how long a search that found nothing is not made
	// again. What is published in the meantime is seen when its tag is asked for.
	completeTime = time.Minute
	// walkTime is for how long a search that gave up can be gone on with.
	walkTime = 10 * time.Minute
	// maxWalks and maxWalked bound the searches, and the documents of one,
	// that are remembered.
	maxWalks  = 64
	maxWalked = 10_000
)

// walk is what searches in a repository for a caller have read so far.
type walk struct {
	below    map[digest.Digest][]nested.Place // the documents that a document names
	complete time.Time                        // until when there is nothing else to be found
	until    time.Time                        // it is remembered
	busy     chan struct{}                    // holds a value while somebody searches
}

// searches lets one search at a time into a repository for a caller.
type searches struct {
	mu  sync.Mutex
	all map[right]*walk
}

// enter waits for its turn, which leave ends.
func (s *searches) enter(ctx context.Context, q request) (*walk, error) {
	w := s.walk(right{q.repository, q.caller})
	select {
	case w.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if w.below == nil || len(w.below) > maxWalked {
		w.below = map[digest.Digest][]nested.Place{}
	}
	return w, nil
}

func (s *searches) leave(w *walk) { <-w.busy }

func (s *searches) walk(k right) *walk {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.all, func(_ right, w *walk) bool { return now.After(w.until) && len(w.busy) == 0 })
	w, ok := s.all[k]
	if !ok {
		if s.all == nil || len(s.all) >= maxWalks {
			s.all = map[right]*walk{}
		}
		w = &walk{busy: make(chan struct{}, 1)}
		s.all[k] = w
	}
	w.until = now.Add(walkTime)
	return w
}
