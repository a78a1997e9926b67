package flight

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const budget = time.Minute

var errAsk = errors.New("no answer")

// asks counts questions and answers each with its number.
type asks struct{ n int }

func (a *asks) ask(keep time.Duration) func(context.Context) (int, time.Duration, error) {
	return func(context.Context) (int, time.Duration, error) {
		a.n++
		return a.n, keep, nil
	}
}

func TestGroupKeepsAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var a asks
		get := func(key string, want int) {
			t.Helper()
			if got, err := g.Get(t.Context(), key, budget, a.ask(time.Minute)); got != want || err != nil {
				t.Errorf("%s: got %d %v, want %d", key, got, err, want)
			}
		}
		get("a", 1)
		get("a", 1)
		get("b", 2)
		time.Sleep(time.Minute - 1)
		get("a", 1)
		time.Sleep(time.Nanosecond)
		get("a", 3)
		g.Forget(func(key string, value int) bool { return key == "a" && value == 3 })
		get("a", 4)
		get("b", 5)
	})
}

func TestGroupKeepsNothingThatFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var a asks
		for range 2 {
			_, err := g.Get(t.Context(), "a", budget, func(context.Context) (int, time.Duration, error) {
				return 0, time.Hour, errAsk
			})
			if !errors.Is(err, errAsk) {
				t.Errorf("got %v", err)
			}
		}
		if got, err := g.Get(t.Context(), "a", budget, a.ask(0)); got != 1 || err != nil {
			t.Errorf("after failures: %d %v", got, err)
		}
		if got, _ := g.Get(t.Context(), "a", budget, a.ask(0)); got != 2 {
			t.Errorf("an answer to keep for no time was kept: %d", got)
		}
	})
}

// slow is a question that takes a minute unless it is cancelled.
type slow struct{ started, cancelled, running, most atomic.Int32 }

func (q *slow) ask(ctx context.Context) (int, time.Duration, error) {
	n := q.started.Add(1)
	if now := q.running.Add(1); now > q.most.Load() {
		q.most.Store(now)
	}
	defer q.running.Add(-1)
	select {
	case <-time.After(time.Minute):
		return int(n), time.Hour, nil
	case <-ctx.Done():
		q.cancelled.Add(1)
		return 0, 0, context.Cause(ctx)
	}
}

func TestGroupWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var q slow
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				if _, err := g.Get(t.Context(), fmt.Sprint(i%50), time.Hour, q.ask); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := q.started.Load(); n != 50 {
			t.Errorf("500 questions with 50 keys were asked %d times", n)
		}
		if most := q.most.Load(); most != 50 {
			t.Errorf("only %d keys at once", most)
		}
	})
}

func TestGroupWorkNotFates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var q slow
		errGone := errors.New("gone")
		first, leave := context.WithCancelCause(t.Context())
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()

		var all sync.WaitGroup
		wait := func(ctx context.Context, want error) {
			all.Go(func() {
				if _, err := g.Get(ctx, "a", time.Hour, q.ask); !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			})
			synctest.Wait()
		}
		wait(first, errGone) // the one whose question it is
		wait(impatient, context.DeadlineExceeded)
		wait(t.Context(), nil)
		leave(errGone)
		all.Wait()
		if started, cancelled := q.started.Load(), q.cancelled.Load(); started != 1 || cancelled != 0 {
			t.Errorf("started %d, cancelled %d", started, cancelled)
		}
	})
}

func TestGroupEndsWhenTheLastLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var q slow
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := g.Get(ctx, "a", time.Hour, q.ask); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		synctest.Wait()
		if q.running.Load() != 0 || q.cancelled.Load() != 1 {
			t.Error("the question goes on though nobody waits")
		}
		// The next to ask does not meet the end of the others.
		if got, err := g.Get(t.Context(), "a", time.Hour, q.ask); got != 2 || err != nil {
			t.Errorf("got %d %v", got, err)
		}
	})
}

// A question that is slow to notice that nobody waits is not joined.
func TestGroupDoesNotJoinTheDying(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var a asks
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Get(ctx, "a", time.Hour, func(ctx context.Context) (int, time.Duration, error) {
			<-ctx.Done()
			time.Sleep(time.Minute)
			return 0, 0, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		for range 2 {
			if got, err := g.Get(t.Context(), "a", time.Hour, a.ask(time.Hour)); got != 1 || err != nil {
				t.Errorf("got %d %v", got, err)
			}
			time.Sleep(2 * time.Minute) // the end of the other one changes nothing
		}
	})
}

func TestGroupBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		var q slow
		begin := time.Now()
		if _, err := g.Get(t.Context(), "a", time.Second, q.ask); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestGroupThrowsStaleAnswersOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g Group[int, int]
		var a asks
		for i := range 10_000 {
			if _, err := g.Get(t.Context(), i, budget, a.ask(10*time.Second)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if len(g.results.entries) > 200 || len(g.flights) > 0 {
			t.Errorf("%d results and %d flights are kept, 10 are fresh", len(g.results.entries), len(g.flights))
		}
	})
}
