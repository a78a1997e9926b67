package retry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

type answered struct {
	status int
	wait   time.Duration
}

func (answered) Error() string                  { return "an answer" }
func (a answered) Answer() (int, time.Duration) { return a.status, a.wait }

// TestTries: how often and for how long a request that fails in the same way is made again, and what is left of the error.
func TestTries(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err               error
		tries             int
		shortest, longest time.Duration // all pauses together
		spent             bool
	}{
		"503":               {answered{503, 0}, 5, 1875 * time.Millisecond, 5625 * time.Millisecond, true},
		"429 after 3 s":     {answered{429, 3 * time.Second}, 5, 12 * time.Second, 13 * time.Second, true},
		"429 after an hour": {answered{429, time.Hour}, 1, 0, 0, true},
		"429 after half":    {answered{429, 31 * time.Second}, 2, 31 * time.Second, 32 * time.Second, true},
		"a broken body":     {io.ErrUnexpectedEOF, 5, 1875 * time.Millisecond, 5625 * time.Millisecond, true},
		"404":               {answered{404, 0}, 1, 0, 0, false},
		"final":             {Final(io.ErrUnexpectedEOF), 1, 0, 0, false},
		"spent":             {Spent(answered{503, 0}), 1, 0, 0, true},
		"unrepeated":        {Unrepeated(answered{503, 0}), 5, 1875 * time.Millisecond, 5625 * time.Millisecond, true},
		"cancelled":         {context.Canceled, 1, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var tries Tries
				n := 1
				err := tries.Wait(t.Context(), test.err)
				for ; err == nil; n++ {
					err = tries.Wait(t.Context(), test.err)
				}
				took := time.Since(began)
				if n != test.tries || took < test.shortest || took > test.longest || IsSpent(err) != test.spent {
					t.Errorf("%d tries in %s, in the end %v, spent: %t", n, took, err, IsSpent(err))
				}
				if test.spent && errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%v looks like a body that could be asked for again", err)
				}
			})
		})
	}
}

// TestWaitInTime: who has no time for the pause is told at once.
func TestWaitInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		var tries Tries
		if err := tries.Wait(ctx, answered{429, 2 * time.Second}); !IsSpent(err) || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// TestAfter: Retry-After in seconds or as a date, and nothing else.
func TestAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"": 0, "0": 0, "3": 3 * time.Second, "-3": 0, "1e3": 0, "soon": 0, "99999999999": 0,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
		} {
			if got := After(&http.Response{Header: http.Header{"Retry-After": {value}}}); got != want {
				t.Errorf("%q: %s, want %s", value, got, want)
			}
		}
	})
}

// TestIsRefused: Windows has another number for it than the one that Go calls so.
func TestIsRefused(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		syscall.ECONNREFUSED: true,
		syscall.Errno(10061): true,
		syscall.ECONNRESET:   false,
		net.ErrClosed:        false,
	} {
		wrapped := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
		if got := IsRefused(wrapped); got != want {
			t.Errorf("%v: %t", wrapped, got)
		}
	}
}
