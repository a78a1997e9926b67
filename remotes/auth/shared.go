package auth

import (
	"context"
	"maps"
	"sync"
	"time"
)

// shared gives the answer of a costly question to all who ask it at the same
// time, and keeps it while it is fresh. Only successes are kept. The question
// is asked with a context of its own, which lives as long as somebody waits
// and at most for a budget: whoever gives up takes nobody along. The lock
// is held for the maps only.
type shared[K comparable, V any] struct {
	mu      sync.Mutex
	answers map[K]answer[V]
	flights map[K]*flight[V]
	sweep   int // number of answers at which the stale ones are thrown out
}

type answer[V any] struct {
	value   V
	expires time.Time
}

type flight[V any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	value   V
	err     error
}

// get returns the kept answer for key, or asks. ask returns the value and for
// how long it may be kept.
func (s *shared[K, V]) get(ctx context.Context, key K, budget time.Duration, ask func(context.Context) (V, time.Duration, error)) (V, error) {
	s.mu.Lock()
	if a, ok := s.answers[key]; ok && time.Now().Before(a.expires) {
		s.mu.Unlock()
		return a.value, nil
	}
	f, ok := s.flights[key]
	if !ok {
		f = s.start(ctx, key, budget, ask)
	}
	f.waiters++
	s.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		s.leave(key, f)
		var none V
		return none, context.Cause(ctx)
	}
}

// start begins a flight; the caller holds the lock.
func (s *shared[K, V]) start(ctx context.Context, key K, budget time.Duration, ask func(context.Context) (V, time.Duration, error)) *flight[V] {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
	f := &flight[V]{done: make(chan struct{}), cancel: cancel}
	if s.flights == nil {
		s.flights = map[K]*flight[V]{}
		s.answers = map[K]answer[V]{}
	}
	s.flights[key] = f
	go func() {
		defer cancel()
		value, keep, err := ask(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		f.value, f.err = value, err
		if s.flights[key] == f {
			delete(s.flights, key)
		}
		if err == nil && keep > 0 {
			s.keep(key, answer[V]{value, time.Now().Add(keep)})
		}
		close(f.done)
	}()
	return f
}

// leave ends a flight that nobody waits for any more.
func (s *shared[K, V]) leave(key K, f *flight[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return
	}
	f.cancel()
	if s.flights[key] == f {
		delete(s.flights, key)
	}
}

// keep stores an answer; the caller holds the lock.
func (s *shared[K, V]) keep(key K, a answer[V]) {
	if len(s.answers) >= s.sweep {
		now := time.Now()
		maps.DeleteFunc(s.answers, func(_ K, a answer[V]) bool { return now.After(a.expires) })
		s.sweep = 2*len(s.answers) + 64
	}
	s.answers[key] = a
}

// forget drops the kept answers that match.
func (s *shared[K, V]) forget(match func(K, V) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.answers, func(k K, a answer[V]) bool { return match(k, a.value) })
}
