package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHostsAroundOthers: root is led nowhere by a directory that others can
// write.
func TestHostsAroundOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "reg.test")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, _, err := (&settings{hostsDir: filepath.Dir(dir)}).hostsAround("reg.test")
	if root := os.Geteuid() == 0; root != (err != nil) || root && !strings.Contains(err.Error(), "--hosts-dir: "+dir+": can be written by its group or others; chmod go-w "+dir) {
		t.Errorf("%v", err)
	}
}

// TestHostsAroundNone: no directory is none, and not the current one.
func TestHostsAroundNone(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("reg.test", 0o755); err != nil {
		t.Fatal(err)
	}
	if around, _, err := new(settings).hostsAround("reg.test"); err != nil || around != "" {
		t.Errorf("%q, %v", around, err)
	}
}
