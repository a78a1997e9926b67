package flight

import (
	"cmp"
	"container/list"
	"sync"
	"time"
)

const (
	// DefaultMost is how many values a [Map] keeps unless it says otherwise:
	// more than one node or program works with at a time, and some MiB at a few
	// hundred bytes each.
	DefaultMost = 10_000
	// sweepTime is how often expired values are removed: some contain secrets.
	sweepTime = time.Minute
)

// Map keeps values by key, for a time each and within a bound: the value that
// was put first makes room for a new one.
type Map[K comparable, V any] struct {
	Most    int     // 0: DefaultMost. Must not be changed after the first use
	Dropped func(V) // is called with each value that makes room for another, when set

	mu      sync.Mutex
	entries map[K]*list.Element // of order
	order   list.List           // of *entry[K, V], by when they were put
	swept   time.Time
}

type entry[K comparable, V any] struct {
	key     K
	value   V
	expires time.Time
}

// Get returns the value of a key, unless it has expired.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(key)
}

func (m *Map[K, V]) get(key K) (value V, ok bool) {
	element, ok := m.entries[key]
	if !ok {
		return value, false
	}
	e := element.Value.(*entry[K, V])
	if !time.Now().Before(e.expires) {
		m.remove(element)
		return value, false
	}
	return e.value, true
}

// Put stores a value, and replaces an earlier one of the key.
func (m *Map[K, V]) Put(key K, value V, keep time.Duration) {
	m.mu.Lock()
	dropped := m.put(key, value, keep)
	m.mu.Unlock()
	m.drop(dropped)
}

// GetOrPut returns the value of a key; when there is none, it is made and
// stored. made is called with the map locked, so it must not use the map.
func (m *Map[K, V]) GetOrPut(key K, keep time.Duration, made func() V) V {
	m.mu.Lock()
	value, ok := m.get(key)
	var dropped []V
	if !ok {
		value = made()
		dropped = m.put(key, value, keep)
	}
	m.mu.Unlock()
	m.drop(dropped)
	return value
}

// put returns the values that had to make room. The caller holds the lock.
func (m *Map[K, V]) put(key K, value V, keep time.Duration) (dropped []V) {
	now := time.Now()
	if now.Sub(m.swept) > sweepTime {
		m.deleteFunc(func(e *entry[K, V]) bool { return !now.Before(e.expires) })
		m.swept = now
	}
	if m.entries == nil {
		m.entries = map[K]*list.Element{}
	}
	if before, ok := m.entries[key]; ok {
		m.remove(before)
	}
	for m.order.Len() >= cmp.Or(m.Most, DefaultMost) {
		dropped = append(dropped, m.remove(m.order.Front()))
	}
	m.entries[key] = m.order.PushBack(&entry[K, V]{key, value, now.Add(keep)})
	return dropped
}

// remove removes a value. The caller holds the lock.
func (m *Map[K, V]) remove(element *list.Element) V {
	e := m.order.Remove(element).(*entry[K, V])
	delete(m.entries, e.key)
	return e.value
}

// drop reports the values that have made room, without the lock.
func (m *Map[K, V]) drop(values []V) {
	for _, v := range values {
		if m.Dropped != nil {
			m.Dropped(v)
		}
	}
}

// Delete removes a value.
func (m *Map[K, V]) Delete(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.entries[key]; ok {
		m.remove(element)
	}
}

// DeleteFunc removes the values that match.
func (m *Map[K, V]) DeleteFunc(match func(K, V) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deleteFunc(func(e *entry[K, V]) bool { return match(e.key, e.value) })
}

func (m *Map[K, V]) deleteFunc(match func(*entry[K, V]) bool) {
	for element := m.order.Front(); element != nil; {
		next := element.Next()
		if match(element.Value.(*entry[K, V])) {
			m.remove(element)
		}
		element = next
	}
}

// Keys returns the keys of the values that match, in the order in which those were
// put.
func (m *Map[K, V]) Keys(match func(K, V) bool) []K {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []K
	for element := m.order.Front(); element != nil; element = element.Next() {
		if e := element.Value.(*entry[K, V]); match(e.key, e.value) {
			keys = append(keys, e.key)
		}
	}
	return keys
}

// Values returns all values in the order in which they were put.
func (m *Map[K, V]) Values() []V {
	m.mu.Lock()
	defer m.mu.Unlock()
	var values []V
	for element := m.order.Front(); element != nil; element = element.Next() {
		values = append(values, element.Value.(*entry[K, V]).value)
	}
	return values
}
