package flight

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestMapDropsWhatWasPutLongestAgo(t *testing.T) {
	t.Parallel()
	var dropped []int
	m := Map[string, int]{Most: 3, Dropped: func(v int) { dropped = append(dropped, v) }}
	for i, key := range []string{"a", "b", "c", "a", "d", "e"} {
		m.Put(key, i, Forever)
	}
	if got, want := m.Values(), []int{3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if want := []int{1, 2}; !slices.Equal(dropped, want) {
		t.Errorf("dropped %v, want %v: a value that is put anew makes room for nothing", dropped, want)
	}
	if _, ok := m.Get("b"); ok {
		t.Error("b is still there")
	}
	if got := m.GetOrPut("a", Forever, func() int { return -1 }); got != 3 {
		t.Errorf("a was made anew: %d", got)
	}
	if got := m.GetOrPut("f", Forever, func() int { return 6 }); got != 6 || !slices.Equal(m.Values(), []int{4, 5, 6}) || !slices.Equal(dropped, []int{1, 2, 3}) {
		t.Errorf("f is %d among %v, dropped %v", got, m.Values(), dropped)
	}
}

func TestMapDeletes(t *testing.T) {
	t.Parallel()
	m := Map[int, int]{Dropped: func(v int) { t.Errorf("%d did not make room", v) }}
	for i := range 6 {
		m.Put(i, 10*i, Forever)
	}
	m.Delete(0)
	m.Delete(7)
	m.DeleteFunc(func(key, value int) bool { return key%2 == 1 && value > 10 })
	if got, want := m.Values(), []int{10, 20, 40}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if v, ok := m.Get(3); ok {
		t.Errorf("3 is still %d", v)
	}
}

func TestMapHasABoundOfItsOwn(t *testing.T) {
	t.Parallel()
	var m Map[int, int]
	for i := range 2 * DefaultMost {
		m.Put(i, i, Forever)
	}
	if n, entries := len(m.Values()), len(m.entries); n != DefaultMost || entries != n {
		t.Errorf("%d values and %d keys are kept", n, entries)
	}
}

func TestMapKeepsValuesForTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m Map[string, int]
		m.Put("short", 1, time.Second)
		m.Put("for ever", 2, Forever)
		time.Sleep(time.Second - time.Nanosecond)
		if v, ok := m.Get("short"); !ok || v != 1 {
			t.Errorf("before its time: %d %t", v, ok)
		}
		time.Sleep(time.Nanosecond)
		if v, ok := m.Get("short"); ok {
			t.Errorf("after its time: %d", v)
		}
		m.Put("unread", 3, time.Second)
		time.Sleep(2 * sweepTime)
		m.Put("later", 4, 0)
		if got, want := m.Values(), []int{2, 4}; !slices.Equal(got, want) {
			t.Errorf("kept %v, want %v: what is stale is thrown out though nobody asks for it", got, want)
		}
		time.Sleep(100 * 365 * 24 * time.Hour)
		if v, ok := m.Get("for ever"); !ok || v != 2 {
			t.Errorf("after a century: %d %t", v, ok)
		}
	})
}
