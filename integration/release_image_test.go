package integration

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// makeRelease runs targets of make for v0.1.0 with a directory for what they make, and more in their environment. It is as if
// make was called by hand, also where the tests were.
func makeRelease(t *testing.T, dist string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "make", append(args, "VERSION=v0.1.0", "DIST="+dist)...)
	ofMake := func(variable string) bool {
		return strings.HasPrefix(variable, "MAKE") || strings.HasPrefix(variable, "MFLAGS=")
	}
	cmd.Dir, cmd.Env = "..", append(slices.DeleteFunc(os.Environ(), ofMake), env...)
	return runCommand(t, cmd)
}

// TestReleaseImage: what make release-image writes for this machine's platform is pushed by nestctl, and pulled and run by
// containerd. crane finds nothing wrong with it, and skopeo reads the archive itself. What is pushed is signed by digest; a
// release of GitHub gets all files.
func TestReleaseImage(t *testing.T) {
	needs(t, "linux", "root", "make", "nestctl", "registry", "crane", "skopeo")
	dist := t.TempDir()
	makeRelease(t, dist, nil, "release-image", "release-chart", "IMAGE_PLATFORMS=linux/"+runtime.GOARCH)
	archive := filepath.Join(dist, "nested-image-v0.1.0.oci.tar")
	reg := startRegistry(t, nil)
	ref := reg.ref("tools/nested", "v0.1.0")
	checkPublish(t, dist, reg)

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

// checkPublish pushes, signs and uploads a release, the latter two with programs that only write down their arguments.
func checkPublish(t *testing.T, dist string, reg *registry) {
	t.Helper()
	programs, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	for _, name := range []string{"cosign", "gh"} {
		program := writeFile(t, filepath.Join(programs, name), "#!/bin/sh\necho \""+name+" $*\" >>"+log+"\n")
		must(t, os.Chmod(program, 0o755))
	}
	writeFile(t, filepath.Join(dist, "SHA256SUMS"), "")
	env := []string{"PATH=" + programs + ":" + os.Getenv("PATH"), "DOCKER_CONFIG=" + t.TempDir()}
	pushed := strings.Fields(makeRelease(t, dist, env, "release-push", "PUSH_TO="+reg.host+"/tools"))
	makeRelease(t, dist, env, "release-sign", "PUSH_TO="+reg.host+"/tools")
	makeRelease(t, dist, env, "release-upload")

	tools := newOtherTools(t, reg)
	image, chart := tools.crane(t, "digest", reg.ref("tools/nested", "v0.1.0")), tools.crane(t, "digest", reg.ref("tools/charts/nested", "0.1.0"))
	if !slices.Equal(pushed, []string{reg.ref("tools/nested", image), reg.ref("tools/charts/nested", chart)}) {
		t.Errorf("pushed %q", pushed)
	}
	ran := readText(t, log)
	for _, want := range []string{
		"cosign sign-blob --yes --bundle " + dist + "/SHA256SUMS.sigstore.json " + dist + "/SHA256SUMS\n",
		"cosign sign --yes " + pushed[0] + "\n", "cosign sign --yes " + pushed[1] + "\n",
		"gh release create v0.1.0 --verify-tag ", " " + dist + "/nested-0.1.0.tgz ",
	} {
		if !strings.Contains(ran, want) {
			t.Errorf("there is no %q in\n%s", want, ran)
		}
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
