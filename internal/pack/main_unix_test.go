//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestReleasedFilesAreForEverybody: what is packed may be read by others, also when whoever packs it has a umask that forbids that.
func TestReleasedFilesAreForEverybody(t *testing.T) {
	former := syscall.Umask(0o077)
	defer syscall.Umask(former)
	path := filepath.Join(t.TempDir(), "image.oci.tar")
	must(t, write(path, []byte("released")))
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o644 {
		t.Errorf("mode %v", info.Mode())
	}
}
