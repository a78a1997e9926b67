package daemon

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/transport/find"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// TestFollowFiles: the gateway goes by hosts.toml as it is now, without being
// told, unless others can write it.
func TestFollowFiles(t *testing.T) {
	var asked string
	host := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked = name; w.WriteHeader(http.StatusNotFound) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	dir := t.TempDir()
	hosts := filepath.Join(dir, "reg.test/hosts.toml")
	write := func(url string) {
		t.Helper()
		next := hosts + ".new"
		if err := os.WriteFile(next, []byte("server = \""+url+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, hosts); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Dir(hosts), 0o755); err != nil {
		t.Fatal(err)
	}
	first, second, third := host("first"), host("the second"), host("another one") // lengths differ, as times may not
	write(first)
	c := config.Default()
	c.Gateway.Mode, c.Gateway.Registries, c.Gateway.HostsDir = "pod", []string{"reg.test"}, dir
	cache, err := locations.Open(filepath.Join(t.TempDir(), "trail.db"), locations.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	d := newGateway(Options{}, cache, find.NewMemory(1<<20))
	if err := d.use(&c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.settings.Load().handler.Close() })
	for _, step := range []struct {
		change func()
		want   string
	}{
		{func() {}, "first"},
		{func() { write(second) }, "the second"},
		{func() {
			write(third)
			if err := os.Chmod(filepath.Dir(hosts), 0o777); err != nil {
				t.Fatal(err)
			}
		}, "the second"},
		{func() {
			if err := os.Chmod(filepath.Dir(hosts), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "another one"},
	} {
		step.change()
		before := d.settings.Load().handler
		d.followFiles()
		d.followFiles()
		asked = ""
		req := httptest.NewRequest(http.MethodGet, "/v2/org/app/manifests/v1?ns=reg.test", nil)
		req.Host = c.Gateway.Address
		d.ServeHTTP(httptest.NewRecorder(), req)
		if asked != step.want {
			t.Errorf("asked was %q, want %q", asked, step.want)
		}
		if step.want == "first" && before != d.settings.Load().handler {
			t.Error("it was read again although nothing had changed")
		}
	}
}
