package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHostsAround: files that an administrator named relative to his hosts.toml are found.
func TestHostsAround(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := filepath.Join("certs.d", "reg.test")
	text := "server = \"https://reg.test\"\nca = \"ca.crt\"\n[host.\"https://127.0.0.1:7117\"]\nca = \"nested-01234567-ca.pem\"\n"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	around, remove, err := hostsAround("certs.d", "reg.test")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(around, "reg.test", "hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := "server = \"https://reg.test\"\nca = \"" + filepath.Join(here, dir, "ca.crt") + "\"\n"
	if strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(around); err == nil {
		t.Error("it stays")
	}
}

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
	_, _, err := hostsAround(filepath.Dir(dir), "reg.test")
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
	if around, _, err := hostsAround("", "reg.test"); err != nil || around != "" {
		t.Errorf("%q, %v", around, err)
	}
}
