package flight

import (
	"context"
	"sync"
)

// Turns gives one caller at a time the use of a key. A [Group] differs: with a
// turn, the caller does the work itself, for as long as it likes, and the next
// one does it again or finds that it is not needed any more.
type Turns[K comparable] struct {
	mu  sync.Mutex
	all map[K]*turn
}

type turn struct {
	taken chan struct{} // holds a value while a caller has the turn
	users int           // callers that have the turn or wait for it
}

// Take waits for the key's turn, and returns a function that ends it, which may
// be called more than once. Errors: the cause of the end of ctx.
func (t *Turns[K]) Take(ctx context.Context, key K) (end func(), err error) {
	one := t.join(key)
	select {
	case one.taken <- struct{}{}:
		return sync.OnceFunc(func() {
			<-one.taken
			t.leave(key, one)
		}), nil
	case <-ctx.Done():
		t.leave(key, one)
		return nil, context.Cause(ctx)
	}
}

func (t *Turns[K]) join(key K) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[K]*turn{}
	}
	one, ok := t.all[key]
	if !ok {
		one = &turn{taken: make(chan struct{}, 1)}
		t.all[key] = one
	}
	one.users++
	return one
}

func (t *Turns[K]) leave(key K, one *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(t.all, key)
	}
}
