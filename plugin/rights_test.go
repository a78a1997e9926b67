package plugin

import (
	"context"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/containerd/v2/pkg/imageverifier"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestAllow: an index that allow does not name is refused before any member is asked for.
func TestAllow(t *testing.T) {
	s := newScene(t)
	s.publish()
	s.config.Allow = []string{s.registry.Host() + "/other"}
	if err := s.pull("v1", nil); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "no pattern of allow matches it") {
		t.Errorf("got %v", err)
	}
	for _, q := range s.registry.Log() {
		if q.Repository != "org/app" {
			t.Errorf("asked: %s", q)
		}
	}
	s.config.Allow = append(s.config.Allow, s.registry.Host()+"/org/*")
	if err := s.pull("v1", nil); err != nil {
		t.Error(err)
	}
}

// TestStoreOfOthers: in CRI's namespace nobody gets a member out of the store that they may not pull; elsewhere whoever may
// ask containerd may read its store.
func TestStoreOfOthers(t *testing.T) {
	for namespace, denied := range map[string]bool{"k8s.io": true, "test": false} {
		s := newScene(t, registrytest.WithTokenAuth())
		s.ctx = namespaces.WithNamespace(t.Context(), namespace)
		s.publish()
		s.registry.Allow("all", "secret", "*")
		s.registry.Allow("parent", "secret", "org/app")
		as := func(user string) credentials {
			return func(string, string) (registry.Credentials, error) {
				return registry.Credentials{Username: user, Secret: "secret"}, nil
			}
		}
		if err := s.pull("v1", as("all")); err != nil {
			t.Fatal(err)
		}
		if err := s.pull("v1", as("parent")); (err != nil) != denied || denied && !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: %v", namespace, err)
		}
	}
}

// refusing is an image verifier that refuses names.
type refusing string

func (r refusing) VerifyImage(_ context.Context, name string, _ ocispec.Descriptor) (*imageverifier.Judgement, error) {
	return &imageverifier.Judgement{OK: !strings.Contains(name, string(r)), Reason: "the test"}, nil
}

// TestVerifiersOfMembers: a member that was found elsewhere is judged under the name that it is recorded by, unless roots
// alone are judged.
func TestVerifiersOfMembers(t *testing.T) {
	for verify, blocked := range map[string]bool{"all": true, "root": false} {
		s := newScene(t)
		s.config.Verify = verify
		s.verifiers = map[string]imageverifier.ImageVerifier{"v": refusing("/org/app/x@")}
		web := s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"file": "1"})) // in the parent alone
		s.registry.Tag("org/app", "v1", s.registry.Index("org/app", registrytest.Member(web, "x")).Digest)
		if err := s.pull("v1", nil); (err != nil) != blocked || blocked && !strings.Contains(err.Error(), "image verifier v blocked pull of "+s.registry.Host()+"/org/app/x@") {
			t.Errorf("verify = %s: %v", verify, err)
		}
	}
}
