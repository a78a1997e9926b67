package flight

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurnsOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns Turns[int]
		var all sync.WaitGroup
		having := [3]int{} // guarded by its turns
		begin := time.Now()
		for i := range 30 {
			all.Go(func() {
				end, err := turns.Take(t.Context(), i%3)
				if err != nil {
					t.Error(err)
					return
				}
				defer end()
				if having[i%3]++; having[i%3] != 1 {
					t.Errorf("%d have key %d", having[i%3], i%3)
				}
				time.Sleep(time.Second)
				having[i%3]--
			})
		}
		all.Wait()
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("took %v: keys wait for one another, or nobody waits", took)
		}
		if len(turns.all) > 0 {
			t.Errorf("%d keys are kept that nobody wants", len(turns.all))
		}
	})
}

func TestTurnsWaitersGiveUpByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns Turns[string]
		end, err := turns.Take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		errGone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		results := make(chan error, 2)
		go func() {
			_, err := turns.Take(ctx, "a")
			results <- err
		}()
		synctest.Wait()
		cancel(errGone)
		if err := <-results; !errors.Is(err, errGone) {
			t.Errorf("who gives up: %v", err)
		}
		go func() {
			last, err := turns.Take(t.Context(), "a")
			end() // a second time ends nobody else's
			select {
			case turns.all["a"].taken <- struct{}{}:
				t.Error("the turn was ended by somebody else")
			default:
			}
			last()
			results <- err
		}()
		synctest.Wait()
		end()
		if err := <-results; err != nil {
			t.Errorf("who waits: %v", err)
		}
		if len(turns.all) > 0 {
			t.Errorf("%d keys are kept that nobody wants", len(turns.all))
		}
	})
}
