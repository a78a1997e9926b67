package memory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func takeFree(t *testing.T, p *Pool[string], of string, bytes int64) *Portion[string] {
	t.Helper()
	c, ok := p.TakeFree(of, bytes)
	if !ok {
		t.Fatalf("%s: %d bytes are not free of %d", of, bytes, p.Free())
	}
	return c
}

// isUntouched checks that all is given back, and nobody remembered.
func isUntouched(t *testing.T, p *Pool[string]) {
	t.Helper()
	if p.Used() != 0 || p.Waiting() != 0 || len(p.holders) != 0 || len(p.idle) != 0 || len(p.preemptible) != 0 {
		t.Errorf("%d bytes, %d wait, held %v, %d idle, %d preemptible", p.Used(), p.Waiting(), p.holders, len(p.idle), len(p.preemptible))
	}
}

// TestSharesAreEqual: one alone has half, several the same part each, and what is smaller finds room beside any number of them.
func TestSharesAreEqual(t *testing.T) {
	p := NewPool[string](1000)
	for holders, want := range map[int]int{1: 500, 2: 333, 3: 250, 60: 16} {
		var all []*Portion[string]
		for round := true; round; { // each takes what it can, in turn
			round = false
			for i := range holders {
				if c, ok := p.TakeFree(fmt.Sprint(i), 1); ok {
					all, round = append(all, c), true
				}
			}
		}
		for i := range holders {
			if n := p.holders[fmt.Sprint(i)]; n < int64(want)-1 || n > int64(want)+1 {
				t.Errorf("%d holders: one has %d, want %d", holders, n, want)
			}
		}
		late, ok := p.TakeFree("late", int64(want/2-1))
		if !ok {
			t.Errorf("%d holders: no room for what is smaller", holders)
		}
		for _, c := range append(all, late) {
			c.Release()
		}
	}
}

// TestTakeWaitsForRoom: who finds no room waits, who needs less goes before, and a wait ends with its context.
func TestTakeWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool[string](1000)
		first, err := p.Take(t.Context(), "a", 500)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			c, failed := p.Take(t.Context(), "b", 300)
			c.Release()
			got <- failed
		}()
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("it did not wait")
		}
		small, err := p.Take(t.Context(), "c", 100)
		if err != nil {
			t.Fatal(err)
		}
		small.Release()
		first.Shrink(400)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		gone := errors.New("it has gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := p.Take(ctx, "b", 500); !errors.Is(err, gone) {
			t.Error(err)
		}
		first.Release()
		first.Release()
		isUntouched(t, p)
	})
}

// TestIdleIsEvicted: what is idle is evicted before anybody waits, the oldest first, but not of those that hold less.
func TestIdleIsEvicted(t *testing.T) {
	p := NewPool[string](1000)
	var evicted []string
	keep := func(of string, bytes int64) *Portion[string] {
		c := takeFree(t, p, of, bytes)
		c.Idle(func() { evicted = append(evicted, of) })
		return c
	}
	old, young, little := keep("old", 300), keep("young", 200), keep("little", 50)
	c, err := p.Take(t.Context(), "a", 250)
	if err != nil || fmt.Sprint(evicted) != "[old]" || old.Use() {
		t.Errorf("%v, evicted %v", err, evicted)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.Take(ctx, "a", 200); err == nil || fmt.Sprint(evicted) != "[old]" {
		t.Errorf("%v, evicted %v: of those that hold less", err, evicted)
	}
	if !young.Use() || !little.Use() || young.Use() {
		t.Error("what is idle cannot be used once")
	}
	for _, c := range []*Portion[string]{c, old, young, little} {
		c.Release()
	}
	isUntouched(t, p)
}

// TestIdleIsEvictedForWhoWaits: what becomes idle while somebody waits is evicted at once.
func TestIdleIsEvictedForWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool[string](1000)
		c := takeFree(t, p, "a", 500)
		got := make(chan error)
		go func() {
			_, err := p.Take(t.Context(), "b", 400)
			got <- err
		}()
		synctest.Wait()
		c.Idle(func() {})
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

// TestNoMoreIsTakenThanThereIs: whatever many do at once, no more is taken than there is, and all of it is given back.
func TestNoMoreIsTakenThanThereIs(t *testing.T) {
	p := NewPool[string](1000)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			of := fmt.Sprint(i % 5)
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(200))*time.Microsecond)
				c, err := p.Take(ctx, of, rand.Int64N(600))
				cancel()
				if used := p.Used(); used > p.size || used < 0 {
					t.Errorf("%d bytes are taken", used)
				}
				if err != nil {
					continue
				}
				c.Shrink(rand.Int64N(300))
				c.Grow(10)
				switch rand.IntN(3) {
				case 0:
					c.Release()
				case 1:
					c.Idle(func() {})
				case 2:
					if c.Idle(func() {}); c.Use() {
						c.Release()
					}
				}
			}
		})
	}
	all.Wait()
	for p.evict("a", -p.size) { // what is left is idle
	}
	isUntouched(t, p)
}

// TestOldestIsPreempted: portions that halve what is left fill a pool. Who waits beside them for a while preempts the oldest
// that is more than they need; one that is young, or smaller, is left alone.
func TestOldestIsPreempted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool[string](1 << 20)
		ended := make(chan int, 20)
		for i := range 20 {
			c := takeFree(t, p, fmt.Sprint("evil", i), p.Free()/2)
			c.OnPreempt(func() { ended <- i; c.Release() })
			time.Sleep(MinUse / 10)
		}
		began := time.Now()
		c, err := p.Take(t.Context(), "victim", 1000)
		if waited := time.Since(began); err != nil || waited != MinUse {
			t.Errorf("after %v: %v", waited, err)
		}
		if n := len(ended); n != 1 || <-ended != 0 {
			t.Errorf("%d portions were preempted", n)
		}
		c.Release()
	})
}
