package contextio

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadAllEndsWithItsContext(t *testing.T) {
	in, far := io.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := errors.New("interrupt")
	cancel(interrupt)
	if data, err := ReadAll(ctx, in); !errors.Is(err, interrupt) || data != nil {
		t.Errorf("%q, %v; want %v", data, err, interrupt)
	}
}

func TestReadAllReadsToTheEnd(t *testing.T) {
	if data, err := ReadAll(t.Context(), strings.NewReader("abc")); err != nil || string(data) != "abc" {
		t.Errorf("%q, %v", data, err)
	}
	broken := errors.New("broken")
	if data, err := ReadAll(t.Context(), io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken))); !errors.Is(err, broken) || string(data) != "abc" {
		t.Errorf("%q, %v; want %v", data, err, broken)
	}
}
