package gateway

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestFirstEntryOfTheRegistryCounts: the registry stands in hosts.toml with its CA, and once more without, as `server`. What it answers
// counts, and the caller's credentials are for both.
func TestFirstEntryOfTheRegistryCounts(t *testing.T) {
	for _, mode := range []Mode{Node, Pod} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			s := newScene(t, mode, registrytest.WithTLS())
			image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"a": "1"}))
			s.Registry.Tag("org/app", "v1", image.Digest)
			s.options.HostsDir = clienttest.HostsDir(t, s.Registry.Host(), fmt.Sprintf("server = %q\n[host.%[1]q]\nca = \"ca.pem\"\n", s.Registry.URL()))
			clienttest.NoError(t, os.WriteFile(filepath.Join(s.options.HostsDir, s.Registry.Host(), "ca.pem"), s.Registry.CA(), 0o600))
			s.start(filepath.Join(t.TempDir(), "locations"))
			s.User = [2]string{"user of org/app", fronttest.Secret}
			s.Pull("v1")
			if err := s.Server.Config.Handler.(*Gateway).Check(); err != nil {
				t.Error(err)
			}
			if got := s.Do(http.MethodGet, "/v2/org/app/manifests/none"); got.Status != http.StatusNotFound {
				t.Errorf("a tag that is not there: %d %s", got.Status, got.Body)
			}
			s.Registry.Allow("user of org/app", "another")
			s.start(filepath.Join(t.TempDir(), "locations"))
			want := map[Mode]int{Node: http.StatusForbidden, Pod: http.StatusUnauthorized}[mode]
			if got := s.Do(http.MethodGet, "/v2/org/app/manifests/v1"); got.Status != want {
				t.Errorf("wrong password: %d %s", got.Status, got.Body)
			}
		})
	}
}

// TestCheckNamesUnreadableHosts: a hosts.toml that cannot be read is named before it is needed.
func TestCheckNamesUnreadableHosts(t *testing.T) {
	s := newScene(t, Node)
	s.options.HostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
	path := filepath.Join(s.options.HostsDir, s.Registry.Host(), "hosts.toml")
	if err := os.WriteFile(path, []byte("server = ["), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(filepath.Join(t.TempDir(), "locations"))
	err := s.Server.Config.Handler.(*Gateway).Check()
	if err == nil || !strings.Contains(err.Error(), s.Registry.Host()) {
		t.Errorf("got %v", err)
	}
	if got := s.Do(http.MethodGet, "/v2/org/app/manifests/v1"); got.Status != http.StatusBadGateway {
		t.Errorf("a request: %d %s", got.Status, got.Body)
	}
}
