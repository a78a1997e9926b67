// Package flight is what goroutines share by a key. Read the files in this
// order:
//
//   - flight.go: [Group] does work once for all who want its result at the same
//     time, and caches the result for as long as the work says;
//   - turns.go: [Turns] gives exclusive use of a key, where the work is the
//     caller's own and the result of another caller is of no use;
//   - once.go: [Once] does work once, whatever the result;
//   - map.go: [Map] keeps values within a bound.
//
// Locks are held for the maps only, never while work is done or waited for, and
// each waiter waits on its own context. The zero values are ready for use; all
// may be used by several goroutines at once, and must not be copied. It is the
// only such package: internal/retry is its neighbour for one request's retries.
package flight

import (
	"context"
	"math"
	"sync"
	"time"
)

// Forever is the lifetime of a result that does not expire.
const Forever time.Duration = math.MaxInt64

// Group shares the result of costly work among all who want it at the same
// time, and caches it for its lifetime. Only successes are cached. The work has
// a context of its own, which lives as long as somebody waits and at most for a
// budget: a caller that gives up does not affect the others.
type Group[K comparable, V any] struct {
	results Map[K, V]

	mu      sync.Mutex
	flights map[K]*flight[V]
}

// flight is work in progress.
type flight[V any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	value   V
	err     error
}

// Get returns the cached result for a key, or that of work, which is started
// unless it is in progress. The work's context has the values of ctx and ends
// after the budget, or when nobody waits any more. keep is how long its value
// may be given to later callers: 0 means not at all. Errors: those of work, and
// the cause of the end of ctx.
func (g *Group[K, V]) Get(ctx context.Context, key K, budget time.Duration, work func(context.Context) (value V, keep time.Duration, err error)) (V, error) {
	g.mu.Lock()
	if value, ok := g.results.Get(key); ok {
		g.mu.Unlock()
		return value, nil
	}
	f, ok := g.flights[key]
	if !ok {
		f = g.start(ctx, key, budget, work)
	}
	f.waiters++
	g.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		g.leave(key, f)
		var none V
		return none, context.Cause(ctx)
	}
}

// start begins a flight. The caller holds the lock.
func (g *Group[K, V]) start(ctx context.Context, key K, budget time.Duration, work func(context.Context) (V, time.Duration, error)) *flight[V] {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
	f := &flight[V]{done: make(chan struct{}), cancel: cancel}
	if g.flights == nil {
		g.flights = map[K]*flight[V]{}
	}
	g.flights[key] = f
	go func() {
		defer cancel()
		value, keep, err := work(ctx)
		g.mu.Lock()
		defer g.mu.Unlock()
		f.value, f.err = value, err
		g.remove(key, f)
		if err == nil && keep > 0 {
			g.results.Put(key, value, keep)
		}
		close(f.done)
	}()
	return f
}

// leave ends a flight when nobody waits for it any more.
func (g *Group[K, V]) leave(key K, f *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return
	}
	f.cancel()
	g.remove(key, f)
}

// remove keeps others from joining a flight. The caller holds the lock.
func (g *Group[K, V]) remove(key K, f *flight[V]) {
	if g.flights[key] == f {
		delete(g.flights, key)
	}
}

// Forget drops the cached results that match. Work in progress continues.
func (g *Group[K, V]) Forget(match func(K, V) bool) { g.results.DeleteFunc(match) }
