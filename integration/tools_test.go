package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// otherTools are other people's clients, at a registry over plain HTTP and in a home of the test's own.
type otherTools struct {
	registry *registry
	dir      string
	env      []string
}

func newOtherTools(t *testing.T, reg *registry) otherTools {
	t.Helper()
	needs(t, "crane", "oras", "regctl")
	home := t.TempDir()
	return otherTools{reg, t.TempDir(), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "DOCKER_CONFIG=" + home}}
}

func (o otherTools) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = o.dir, o.env
	return strings.TrimSpace(runCommand(t, cmd))
}

func (o otherTools) crane(t *testing.T, args ...string) string {
	t.Helper()
	return o.run(t, "crane", append(args, "--insecure")...)
}

func (o otherTools) oras(t *testing.T, args ...string) string {
	t.Helper()
	return o.run(t, "oras", args...)
}

func (o otherTools) regctl(t *testing.T, args ...string) string {
	t.Helper()
	return o.run(t, "regctl", append(args, "--host", "reg="+o.registry.host+",tls=disabled")...)
}

// pushAll makes, below org/app and each with the tool that made its name, images of Docker's media
// types and of OCI's, indexes over them, and artifacts.
func (o otherTools) pushAll(t *testing.T) []string {
	t.Helper()
	writeFile(t, filepath.Join(o.dir, "layer.tgz"), string(newLayer(t, "message", []byte("hello\n")).data))
	writeFile(t, filepath.Join(o.dir, "root", "message"), "hello\n")
	writeFile(t, filepath.Join(o.dir, "hello.rpm"), string(randomBlob("", 1<<16).data))

	craneIndex, craneImage := o.registry.ref("org/app/crane/index", "v1"), o.registry.ref("org/app/crane/image", "v1")
	o.crane(t, "append", "--new_layer", "layer.tgz", "--new_tag", craneImage)
	appended := []string{"index", "append", "--tag", craneIndex}
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		image := o.registry.ref("org/app/crane/index", strings.TrimPrefix(platform, "linux/"))
		o.crane(t, "mutate", "--set-platform", platform, "--tag", image, craneImage)
		appended = append(appended, "--manifest", image)
	}
	o.crane(t, appended...)

	orasArtifact := o.registry.ref("org/app/oras", "v1")
	o.oras(t, "push", "--plain-http", "--artifact-type", "application/vnd.test.rpm", orasArtifact, "hello.rpm:application/x-rpm")

	empty, regctlImage := o.registry.ref("org/app/regctl/image", "empty"), o.registry.ref("org/app/regctl/image", "v1")
	o.regctl(t, "image", "create", "--platform", "linux/amd64", empty)
	o.regctl(t, "image", "mod", "--layer-add", "dir=root", "--create", regctlImage, empty)
	regctlIndex, regctlArtifact := o.registry.ref("org/app/regctl/index", "v1"), o.registry.ref("org/app/regctl/artifact", "v1")
	o.regctl(t, "index", "create", "--ref", regctlImage, regctlIndex)
	o.regctl(t, "artifact", "put", "--artifact-type", "application/vnd.test.rpm", "--file", "hello.rpm", regctlArtifact)
	return []string{craneIndex, craneImage, orasArtifact, regctlIndex, regctlImage, regctlArtifact}
}

// TestOtherTools: what crane, oras and regctl push becomes members that pull whole, and what nestctl pulls is whole for
// them.
func TestOtherTools(t *testing.T) {
	for _, row := range strategyRows {
		t.Run(row.name, func(t *testing.T) {
			tools := newOtherTools(t, row.start(t))
			refs := tools.pushAll(t)
			tools.checkIndexed(t, refs)
			for _, ref := range refs {
				tools.checkPlain(t, ref)
			}
		})
	}
}

// checkIndexed makes a nested index of what was pushed. The layout that it is pulled to has all that
// the others need to copy the index into one repository.
func (o otherTools) checkIndexed(t *testing.T, refs []string) {
	t.Helper()
	client := newNestctl(t, dockerConfig(t, nil, nil))
	var made struct {
		Digest  string
		Members []string
	}
	app := o.registry.ref("org/app", "v1")
	args := append([]string{"index", "create", "--plain-http", "--format", "json", app}, refs...)
	must(t, json.Unmarshal([]byte(client.run(t, args...).stdout), &made))
	for i, ref := range refs {
		if want := strings.TrimSuffix(ref, ":v1") + "@" + o.crane(t, "digest", ref); made.Members[i] != want {
			t.Errorf("the index has %s, pushed was %s", made.Members[i], want)
		}
	}

	layout := filepath.Join(t.TempDir(), "layout")
	pulled := client.run(t, "pull", "--plain-http", "--all-platforms", "--format", "json", "--to", "oci-layout:"+layout, app).summary(t)
	if pulled.Root.Digest != made.Digest || len(pulled.Members) != len(refs) {
		t.Errorf("made was %s of %d, pulled %+v", made.Digest, len(refs), pulled)
	}
	checkBlobs(t, layout)
	byOras, byRegctl := o.registry.ref("flat/oras", "v1"), o.registry.ref("flat/regctl", "v1")
	o.oras(t, "cp", "--from-oci-layout", "--to-plain-http", layout+":v1", byOras)
	o.regctl(t, "image", "copy", "ocidir://"+layout+":v1", byRegctl)
	o.checkRemote(t, byOras, made.Digest)
	o.checkRemote(t, byRegctl, made.Digest)
}

// checkPlain pulls to a layout what is no nested index, and has the others read it.
func (o otherTools) checkPlain(t *testing.T, ref string) {
	t.Helper()
	layout := filepath.Join(t.TempDir(), "layout")
	newNestctl(t, dockerConfig(t, nil, nil)).run(t, "pull", "--plain-http", "--all-platforms", "--to", "oci-layout:"+layout, ref)
	want := o.crane(t, "digest", ref)
	for tool, manifest := range map[string]string{
		"oras":   o.oras(t, "manifest", "fetch", "--oci-layout", layout+":v1"),
		"regctl": o.regctl(t, "manifest", "get", "--format", "raw-body", "ocidir://"+layout+":v1"),
	} {
		if got := digest.FromString(manifest).String(); got != want {
			t.Errorf("%s: %s reads %s from the layout, not %s", ref, tool, got, want)
		}
	}
	again := o.registry.ref("again", "v1")
	o.crane(t, "push", layout, again)
	o.checkRemote(t, again, want)
}

// checkRemote checks what was pushed, and all that belongs to it, as crane sees it.
func (o otherTools) checkRemote(t *testing.T, ref, want string) {
	t.Helper()
	if got := o.crane(t, "digest", ref); got != want {
		t.Errorf("%s is %s, not %s", ref, got, want)
	}
	o.crane(t, "validate", "--remote", ref)
}
