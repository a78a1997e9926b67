package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nestedoci/nested/internal/trust"
)

// makeState makes the directory of the location cache, owned by this process's
// user alone. An empty directory that everybody may write, such as the volumes
// that Kubernetes makes for a pod, is taken over; any other is refused.
func makeState(dir string) error {
	err := trust.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o700)
	}
	var bad *trust.Error
	if !errors.As(err, &bad) {
		return err
	}
	real, evalErr := filepath.EvalSymlinks(dir)
	if evalErr != nil || real != bad.Path || !takeOver(real) { // what is wrong may be before it
		return asProblem(err)
	}
	return CheckDir(dir)
}

// takeOver removes the write permission of others from an empty directory of
// ours. It reports whether the directory was still empty after that.
func takeOver(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil || !trust.Owned(info) || info.Mode()&fs.ModeSticky != 0 || !isEmpty(dir) {
		return false
	}
	return dir.Chmod(0o700) == nil && isEmpty(dir)
}

// isEmpty looks from the beginning.
func isEmpty(dir *os.File) bool {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return false
	}
	_, err := dir.Readdirnames(1)
	return errors.Is(err, io.EOF)
}
