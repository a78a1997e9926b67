package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/config"
)

// TestHostsWithoutGateway: files that an administrator named relative to their hosts.toml are found.
func TestHostsWithoutGateway(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := filepath.Join("certs.d", "reg.test")
	text := "server = \"https://reg.test\"\nca = \"ca.crt\"\n[host.\"https://127.0.0.1:7117\"]\nca = \"nested-01234567-ca.pem\"\n"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	certs, err := filepath.Abs("certs.d")
	if err != nil {
		t.Fatal(err)
	}
	around, remove, err := config.HostsWithoutGateway(certs, "reg.test")
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
