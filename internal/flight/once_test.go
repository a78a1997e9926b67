package flight

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestOnceWorksOncePerKey(t *testing.T) {
	var o Once[string, int64]
	var runs atomic.Int64
	broken := errors.New("broken")
	var group sync.WaitGroup
	for range 8 {
		for _, key := range []string{"a", "b"} {
			group.Go(func() {
				value, err := o.Do(key, func() (int64, error) {
					runs.Add(1)
					return int64(len(key)), broken
				})
				if value != 1 || !errors.Is(err, broken) {
					t.Errorf("%s: %d, %v", key, value, err)
				}
			})
		}
	}
	group.Wait()
	if n := runs.Load(); n != 2 {
		t.Errorf("%d runs for 2 keys", n)
	}
}
