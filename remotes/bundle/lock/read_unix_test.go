//go:build unix

package lock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/nestedoci/nested/remotes/bundle/lock"
)

// A pipe may be named as a lock, and nobody may ever write to it.
func TestReadOfPipeEndsWithItsContext(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "app.lock")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := errors.New("interrupt")
	cancel(interrupt)
	if _, err := lock.ReadRef(ctx, pipe); !errors.Is(err, interrupt) {
		t.Errorf("%v", err)
	}
	// The read that was given up still waits for a writer, and ends with it.
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
}
