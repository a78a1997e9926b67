package plugin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/registry"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestHostsOfOthers: where others decide about hosts.toml, containerd pulls as
// it does without the plugin, and no credential of the node's goes there.
func TestHostsOfOthers(t *testing.T) {
	s := newScene(t, registrytest.WithTokenAuth())
	// of one member: containerd's authorizer has a data race, which two at a time meet when they are refused
	web := s.registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"file": "web"}))
	s.registry.Tag("org/app", "v1", s.registry.Index("org/app", registrytest.Member(web, "web")).Digest)
	plain := s.registry.Image("org/plain", registrytest.TarLayer(map[string]string{"file": "plain"}))
	s.registry.Tag("org/plain", "v1", plain.Digest)
	s.registry.Allow("node", "secret", "org/app", "org/app/web")
	s.registry.AllowAnonymous("org/plain")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	docker := filepath.Join(t.TempDir(), "config.json")
	write(docker, `{"auths":{"`+s.registry.Host()+`":{"username":"node","password":"secret"}}}`)
	s.config.DockerConfig = []string{docker}
	hosts := t.TempDir()
	of := filepath.Join(hosts, "registry.test")
	if err := os.Mkdir(of, 0o755); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(of, "hosts.toml"), "server = \"http://"+s.registry.Host()+"\"\n")
	pull := func(ref string) error {
		source, err := registry.NewOCIRegistry(s.ctx, ref, registry.WithHostDir(hosts))
		if err != nil {
			t.Fatal(err)
		}
		return s.Transfer(s.ctx, source, image.NewStore(ref))
	}
	push := func(ref string) error {
		destination, err := registry.NewOCIRegistry(s.ctx, ref, registry.WithHostDir(hosts))
		if err != nil {
			t.Fatal(err)
		}
		return s.Transfer(s.ctx, image.NewStore(ref), destination)
	}
	if err := pull("registry.test/org/app:v1"); err != nil {
		t.Fatalf("while nobody else can write it: %v", err)
	}
	for _, everybodys := range []string{hosts, of, filepath.Join(of, "hosts.toml")} {
		info, err := os.Stat(everybodys)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(everybodys, 0o777); err != nil {
			t.Fatal(err)
		}
		s.registry.ResetLog()
		if err := pull("registry.test/org/plain:v1"); err != nil {
			t.Errorf("%s: a plain image: %v", everybodys, err)
		}
		if err := pull("registry.test/org/app:v1"); err == nil {
			t.Errorf("%s: a bundle was pulled", everybodys)
		}
		if err := push("registry.test/org/app:v1"); err == nil {
			t.Errorf("%s: a bundle was pushed", everybodys)
		}
		for _, q := range s.registry.Log() {
			if q.User != "" {
				t.Errorf("%s: the node's credential was shown: %+v", everybodys, q)
			}
		}
		if err := os.Chmod(everybodys, info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
}
