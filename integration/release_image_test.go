package integration

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// releaseImage makes the image of v0.1.0 for this machine's platform, as make release-image does, and returns its archive.
func releaseImage(t *testing.T) string {
	t.Helper()
	dist := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "release-image", "VERSION=v0.1.0", "DIST="+dist, "IMAGE_PLATFORMS=linux/"+runtime.GOARCH)
	cmd.Dir = ".."
	runCommand(t, cmd)
	return filepath.Join(dist, "nested-image-v0.1.0.oci.tar")
}

// TestReleaseImage: what make release-image writes is pushed by nestctl, and pulled and run by containerd. crane finds
// nothing wrong with it, and skopeo reads the archive itself.
func TestReleaseImage(t *testing.T) {
	needs(t, "linux", "root", "make", "nestctl", "registry", "crane", "skopeo")
	archive := releaseImage(t)
	reg := startRegistry(t, nil)
	ref := reg.ref("tools/nested", "v0.1.0")
	newNestctl(t, t.TempDir()).run(t, "copy", "--plain-http", "oci-archive:"+archive, ref)

	tools := newOtherTools(t, reg)
	tools.crane(t, "validate", "--remote", ref)
	var image ocispec.Image
	must(t, json.Unmarshal([]byte(tools.crane(t, "config", ref)), &image))
	if image.Config.Labels[ocispec.AnnotationVersion] != "v0.1.0" || image.Config.User != "65532:65532" {
		t.Errorf("configuration %+v", image.Config)
	}
	if got := tools.run(t, "skopeo", "inspect", "--format", "{{.Digest}}", "oci-archive:"+archive+":v0.1.0"); got != tools.crane(t, "digest", ref) {
		t.Errorf("skopeo finds %s in the archive", got)
	}

	c := startContainerd(t)
	c.ctr(t, "image", "pull", "--plain-http", ref)
	got := c.ctr(t, "run", "--rm", "--fifo-dir", c.dir, ref, "version", "/usr/bin/nestctl", "version")
	if !strings.Contains(got, "v0.1.0") {
		t.Errorf("nestctl in a container prints %q", got)
	}
}

// TestReleaseRoots: the image's CAs are certificates of CAs in PEM, as many as a store of all public ones has.
func TestReleaseRoots(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Dir = "../internal/roots"
	n := 0
	for block, rest := pem.Decode([]byte(runCommand(t, cmd))); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		must(t, err)
		if !certificate.IsCA {
			t.Errorf("%s is no CA", certificate.Subject)
		}
		n++
	}
	if n < 100 {
		t.Errorf("%d CAs", n)
	}
}
