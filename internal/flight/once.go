package flight

import "sync"

// Once does work once for each key, and keeps the result, errors too, as long
// as it lives itself: for the work of one run, during which answers do not
// change. A [Group] differs: it keeps successes for a time, and each caller
// waits on its own context; here all wait for the first caller's.
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
