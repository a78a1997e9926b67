package layout

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
)

// mkfifo makes a directory: there are no pipes with names in directories here, and it is no file, either.
func mkfifo(path string) error { return os.Mkdir(path, 0o700) }

// TestLockWindows: one pull at a time, and nothing of the lock is left.
func TestLockWindows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	first, err := Create(dir)
	clienttest.NoError(t, err)
	_, err = Create(dir)
	clienttest.WantError(t, err, "another pull is writing here")
	clienttest.NoError(t, first.Close())
	if _, err = os.Stat(filepath.Join(dir, ".lock")); !os.IsNotExist(err) {
		t.Errorf("the lock is left: %v", err)
	}
	again, err := Create(dir)
	clienttest.NoError(t, err)
	clienttest.NoError(t, again.Close())
}
