package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
)

// pullIntoLayout pulls a bundle and checks that it has arrived with its names.
func pullIntoLayout(t *testing.T, a *app, args ...string) outcome {
	t.Helper()
	layout := filepath.Join(t.TempDir(), "layout")
	args = append([]string{"pull", "--format", "json", "--to", "oci-layout:" + layout, a.ref}, args...)
	got := newNestctl(t, dockerConfig(t, a.logins, nil)).run(t, args...)
	checkLayout(t, layout, a.records()...)
	return got
}

// TestPropertyForm: the form of image-spec issue 1217.
func TestPropertyForm(t *testing.T) {
	a := publish(t, newBundleByProperty(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))}))
	pullIntoLayout(t, a, "--plain-http")
	a.checkTokens(t)
}

// TestCarrier: a registry in its default configuration refuses the index itself, and takes one in a
// carrier. The bundle's root is the index all the same.
func TestCarrier(t *testing.T) {
	bundle := newApp(t)
	tokens := startTokenServer(t, userPerRepository(repositories("org/app", bundle)...))
	reg := registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, tokens)
	a := publishAt(t, reg, newCarrier(t, bundle))
	a.bundle = bundle
	got := pullIntoLayout(t, a, "--plain-http").summary(t)
	if got.Root.Digest != bundle.desc.Digest.String() {
		t.Errorf("root %+v, want %s", got.Root, bundle.desc.Digest)
	}

	a.ref = reg.ref("org/app", bundle.desc.Digest.String())
	pullIntoLayout(t, a, "--plain-http")
}

// TestCopiesInTheParent: members that their targets do not have are taken from the parent, and are
// named after their targets.
func TestCopiesInTheParent(t *testing.T) {
	image := newImage(t, amd64, "web\n", baseLayer(t))
	bundle := newBundle(t, member{"web", image})
	reg := startRegistry(t, startTokenServer(t, userPerRepository("org/app", "org/app/web")))
	a := publishAt(t, reg, newIndex(t, image)) // the image is in org/app
	a.bundle = bundle
	a.logins[reg.host+"/org/app/web"] = loginOf("org/app/web")
	reg.pushManifest(t, "org/app", "v1", bundle.content)

	pullIntoLayout(t, a, "--plain-http")
	manifests := only(a.requests(), func(r request) bool { return r.Reference == image.desc.Digest.String() && r.Status != 401 })
	got := tally(manifests, func(r request) string { return fmt.Sprint(r.Repository, " ", r.Status) })
	if got["org/app/web 404"] != 1 || got["org/app 200"] != 1 || len(manifests) != 2 {
		t.Errorf("requests for the member: %v", got)
	}
}

// TestTLS: registry and token server with a certificate that only hosts.toml knows.
func TestTLS(t *testing.T) {
	bundle := newApp(t)
	tokens := serveTokens(t, userPerRepository(repositories("org/app", bundle)...), (*httptest.Server).StartTLS)
	a := publishAt(t, registryOptions{serve: (*httptest.Server).StartTLS}.start(t, tokens), bundle)
	hosts := t.TempDir()
	table := fmt.Sprintf("server = %[1]q\n\n[host.%[1]q]\n", "https://"+a.host)
	file := writeFile(t, filepath.Join(hosts, a.host, "hosts.toml"), table)

	// Without any table, containerd does not verify the certificates of loopback addresses.
	to := "oci-layout:" + filepath.Join(t.TempDir(), "layout")
	client := newNestctl(t, dockerConfig(t, a.logins, nil))
	client.fails(t, exitFailure, []string{"certificate"}, "pull", "--hosts-dir", hosts, "--to", to, a.ref)

	ca := writeFile(t, filepath.Join(hosts, "ca.pem"), a.ca)
	writeFile(t, file, table+fmt.Sprintf("ca = %q\n", ca))
	pullIntoLayout(t, a, "--hosts-dir", hosts)
	a.checkTokens(t)
}

// TestAnonymous: a registry that asks nobody for anything.
func TestAnonymous(t *testing.T) {
	a := publishAt(t, startRegistry(t, nil), newApp(t))
	a.logins = nil
	pullIntoLayout(t, a, "--plain-http")
	if log := a.requests(); slices.ContainsFunc(log, func(r request) bool { return r.Authorized || r.Status != http.StatusOK }) {
		showLog(t, log)
		t.Error("a request was authorized, or failed")
	}
}

// TestPlatforms: the host's by default, all on request.
func TestPlatforms(t *testing.T) {
	a := publish(t, newApp(t))
	arm := a.bundle.members[0].node.nodes[1]
	asked := func() bool {
		return slices.ContainsFunc(a.requests(), func(r request) bool { return r.Reference == arm.desc.Digest.String() })
	}
	pullIntoLayout(t, a, "--plain-http", "--platform", "linux/amd64")
	if asked() {
		t.Error("linux/arm64 was pulled for linux/amd64")
	}
	pullIntoLayout(t, a, "--plain-http", "--all-platforms")
	if !asked() {
		t.Error("linux/arm64 was not pulled with --all-platforms")
	}
}
