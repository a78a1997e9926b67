package gateway

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

// holder is somebody who takes memory.
func holder(t *testing.T, name string) right {
	return right{repository: repository(t, "reg.test/org/"+name)}
}

// TestPoolShares: one alone has half, several the same part each, and what is smaller finds room beside any number of them.
func TestPoolShares(t *testing.T) {
	p := &pool{size: 1000}
	for holders, want := range map[int]int{1: 500, 2: 333, 3: 250, 60: 16} {
		var all []*portion
		for round := true; round; { // each takes what it can, in turn
			round = false
			for i := range holders {
				if c, err := p.takeFree(holder(t, fmt.Sprint(i)), 1); err == nil {
					all, round = append(all, c), true
				}
			}
		}
		for i := range holders {
			if n := p.holders[holder(t, fmt.Sprint(i))]; n < int64(want)-1 || n > int64(want)+1 {
				t.Errorf("%d holders: one has %d, want %d", holders, n, want)
			}
		}
		if _, err := p.takeFree(holder(t, "late"), int64(want/2-1)); err != nil {
			t.Errorf("%d holders: %v", holders, err)
		}
		for _, c := range all {
			c.release()
		}
		p.used, p.holders = 0, nil
	}
}

// TestPoolWaits: who finds no room waits, who needs less goes before, and a wait ends with its request.
func TestPoolWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{size: 1000}
		first, err := p.take(t.Context(), holder(t, "a"), 500)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			c, failed := p.take(t.Context(), holder(t, "b"), 300)
			c.release()
			got <- failed
		}()
		synctest.Wait()
		if len(got) > 0 {
			t.Fatal("it did not wait")
		}
		small, err := p.take(t.Context(), holder(t, "c"), 100)
		if err != nil {
			t.Fatal(err)
		}
		small.release()
		first.shrink(400)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		gone := errors.New("it has gone")
		for cause, want := range map[error]func(error) bool{
			gone:       func(err error) bool { return errors.Is(err, gone) },
			errTimeout: refused,
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(cause) })
			if _, err := p.take(ctx, holder(t, "b"), 500); !want(err) {
				t.Errorf("%v: %v", cause, err)
			}
		}
		first.release()
		first.release()
		if p.used != 0 || len(p.waiting) != 0 || len(p.holders) != 0 {
			t.Errorf("%d bytes, %d wait, held %v", p.used, len(p.waiting), p.holders)
		}
	})
}

// TestPoolKept: what is merely kept is given up before anybody waits, the oldest first, but not of those that hold less.
func TestPoolKept(t *testing.T) {
	p := &pool{size: 1000}
	var dropped []string
	keep := func(of string, bytes int64) *portion {
		c, err := p.takeFree(holder(t, of), bytes)
		if err != nil {
			t.Fatal(err)
		}
		c.keep(func() { dropped = append(dropped, of) })
		return c
	}
	old, young, little := keep("old", 300), keep("young", 200), keep("little", 50)
	c, err := p.take(t.Context(), holder(t, "a"), 250)
	if err != nil || fmt.Sprint(dropped) != "[old]" || old.use() {
		t.Errorf("%v, given up %v", err, dropped)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := p.take(ctx, holder(t, "a"), 200); err == nil || fmt.Sprint(dropped) != "[old]" {
		t.Errorf("%v, given up %v: of those that hold less", err, dropped)
	}
	if !young.use() || !little.use() || young.use() {
		t.Error("what is kept cannot be used once")
	}
	for _, c := range []*portion{c, old, young, little} {
		c.release()
	}
	if p.used != 0 {
		t.Errorf("%d bytes", p.used)
	}
}

// TestPoolKeptMeanwhile: what begins to be kept while somebody waits is given up at once.
func TestPoolKeptMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{size: 1000}
		c, err := p.takeFree(holder(t, "a"), 500)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error)
		go func() {
			_, err := p.take(t.Context(), holder(t, "b"), 400)
			got <- err
		}()
		synctest.Wait()
		c.keep(func() {})
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

// TestPoolWhole: whatever many do at once, no more is taken than there is, and all of it is given back.
func TestPoolWhole(t *testing.T) {
	p := &pool{size: 1000}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			of := holder(t, fmt.Sprint(i%5))
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(200))*time.Microsecond)
				c, err := p.take(ctx, of, rand.Int64N(600))
				cancel()
				if used := p.taken(); used > p.size || used < 0 {
					t.Errorf("%d bytes are taken", used)
				}
				if err != nil {
					continue
				}
				c.shrink(rand.Int64N(300))
				c.grow(10)
				switch rand.IntN(3) {
				case 0:
					c.release()
				case 1:
					c.keep(func() {})
				case 2:
					if c.keep(func() {}); c.use() {
						c.release()
					}
				}
			}
		})
	}
	all.Wait()
	for p.giveUp(holder(t, "a"), -p.size) { // what is left is kept
	}
	if p.used != 0 || len(p.waiting) != 0 || len(p.holders) != 0 {
		t.Errorf("%d bytes, %d wait, held %v", p.used, len(p.waiting), p.holders)
	}
}

// TestMemoryGivenBack: a request gives back what it has taken however it ends.
func TestMemoryGivenBack(t *testing.T) {
	m := NewMemory(1 << 20)
	func() {
		defer func() { _ = recover() }()
		ctx, cancel := withBudget(t.Context(), holder(t, "a"), time.Minute)
		defer cancel()
		for range 3 {
			if _, err := take(ctx, &m.documents, 100); err != nil {
				t.Fatal(err)
			}
		}
		if m.Used() < 300 {
			t.Errorf("%d bytes are taken", m.Used())
		}
		panic("it ends")
	}()
	if m.Used() != 0 {
		t.Errorf("%d bytes were not given back", m.Used())
	}
}

// TestPoolEndsTheOldest: portions that halve what is left fill a pool. Who waits beside them for a while has the oldest
// request ended that has more than they need; one that is young, or smaller, is left alone.
func TestPoolEndsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{size: 1 << 20}
		ended := make(chan int, 20)
		for i := range 20 {
			c, err := p.takeFree(holder(t, fmt.Sprint("evil", i)), (p.size-p.used)/2)
			if err != nil {
				t.Fatal(err)
			}
			c.usedBy(func() { ended <- i; c.release() })
			time.Sleep(memoryPatience / 10)
		}
		began := time.Now()
		c, err := p.take(t.Context(), holder(t, "victim"), 1000)
		if waited := time.Since(began); err != nil || waited != memoryPatience {
			t.Errorf("after %v: %v", waited, err)
		}
		if n := len(ended); n != 1 || <-ended != 0 {
			t.Errorf("%d requests were ended", n)
		}
		c.release()
	})
}
