// Package contextio reads from streams that may never end: the read ends with
// its context.
package contextio

import (
	"context"
	"io"
)

// ReadAll reads to the end, or until ctx ends, and then returns the cause of
// that: the other end of a pipe or a terminal may never write. A read that is
// still waiting then continues, and its result is dropped; in must not be used
// any more.
func ReadAll(ctx context.Context, in io.Reader) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(in)
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
