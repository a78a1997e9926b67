package flight

import "sync"

// Once does work once for each key, and keeps what came of it, errors too, for
// as long as it lives itself: for the work of one run, whose answers do not
// change under it. That is not [Group], which keeps successes for a time, and
// whose callers each have a context of their own: here all wait for the first
// one's.
type Once[K comparable, V any] struct {
	mu   sync.Mutex
	done map[K]func() (V, error)
}

// Do returns the result of the first work for a key, and waits for it.
func (o *Once[K, V]) Do(key K, work func() (V, error)) (V, error) {
	o.mu.Lock()
	if o.done == nil {
		o.done = map[K]func() (V, error){}
	}
	first, ok := o.done[key]
	if !ok {
		first = sync.OnceValues(work)
		o.done[key] = first
	}
	o.mu.Unlock()
	return first()
}
