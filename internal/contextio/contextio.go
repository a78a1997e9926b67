// Package contextio reads from streams that may never end: the read ends with
// its context.
package contextio

import (
	"context"
	"io"
	"os"
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

// ReadFile reads up to most bytes of a file, as ReadAll does: a named pipe is not
// even open before somebody writes to it.
func ReadFile(ctx context.Context, name string, most int64) ([]byte, error) {
	return ReadAll(ctx, &opening{name: name, left: most})
}

// opening is a file that the first read opens.
type opening struct {
	name string
	left int64
	file *os.File
}

func (o *opening) Read(p []byte) (n int, err error) {
	if o.file == nil {
		if o.file, err = os.Open(o.name); err != nil {
			return 0, err
		}
	}
	if o.left > 0 {
		n, err = o.file.Read(p[:min(int64(len(p)), o.left)])
		o.left -= int64(n)
	} else {
		err = io.EOF
	}
	if err != nil {
		_ = o.file.Close()
	}
	return n, err
}
