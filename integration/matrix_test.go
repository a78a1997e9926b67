package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// matrixVersions are the oldest and the newest, unless MATRIX names others, or "all", and only the newest in `make test`.
func matrixVersions(t *testing.T) []string {
	t.Helper()
	named := strings.Fields(os.Getenv("MATRIX"))
	switch {
	case testing.Short():
		return []string{newest}
	case len(named) == 0:
		return []string{minors[0], newest}
	case slices.Equal(named, []string{"all"}):
		return minors
	}
	for _, version := range named {
		if !slices.Contains(minors, version) {
			t.Fatalf("MATRIX names version %q, known are %q", version, minors)
		}
	}
	return named
}

// stockClient is one of the ways in which a version of containerd pulls by hosts.toml.
type stockClient struct {
	name   string
	visits visits
	pull   func(t *testing.T, ref string)
	run    func(t testing.TB, ref string) string
}

// visits is what a client fetches of an index's members.
type visits struct {
	every    bool // all members that fit the platform, not only the first
	metadata bool // manifests and configurations of members that do not fit
}

// stockClients starts a version's daemons, without any image but the sandboxes'.
func stockClients(t *testing.T, version, certsD string) []stockClient {
	t.Helper()
	daemon := startCRI(t, criOptions{version: version, certsD: certsD})
	byCtr := daemon.in("test")
	clients := []stockClient{byCtr.stockClient(local, certsD)}
	if version == "1.7" {
		return append(clients, daemon.stockClient("cri", visits{}))
	}
	other := startCRI(t, criOptions{version: version, certsD: certsD, localPull: true})
	return append(clients,
		byCtr.stockClient(transfer, certsD),
		daemon.stockClient("cri", visits{every: true}),
		other.stockClient("cri-local", visits{}))
}

func (c *containerd) stockClient(with puller, certsD string) stockClient {
	return stockClient{
		name:   "ctr-" + string(with),
		visits: visits{every: true, metadata: c.version != "1.7"},
		pull:   func(t *testing.T, ref string) { t.Helper(); c.pullHosts(t, with, certsD, ref) },
		run:    c.runImage,
	}
}

func (c *cri) stockClient(name string, visits visits) stockClient {
	pull := func(t *testing.T, ref string) { t.Helper(); c.pullImage(t, ref, nil) }
	return stockClient{name, visits, pull, c.runPod}
}

// startBehindTLS starts a registry that, like the gateway, clients know by hosts.toml only: it is not
// where its name says, has a certificate of its own, and wants one from them.
func startBehindTLS(t *testing.T, certsD, name string) *registry {
	t.Helper()
	var pair tls.Certificate
	reg := registryOptions{serve: func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
		pair = s.TLS.Certificates[0]
	}}.start(t, nil)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	must(t, err)
	writeFile(t, filepath.Join(certsD, name, "ca.pem"), reg.ca)
	both := reg.ca + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	writeFile(t, filepath.Join(certsD, name, "client.pem"), both)
	writeHosts(t, certsD, name, fmt.Sprintf("[host.%q]\nca = \"ca.pem\"\nclient = \"client.pem\"\n", "https://"+reg.host))
	return reg
}

// TestMatrix pulls with every stock client of some versions of containerd.
func TestMatrix(t *testing.T) {
	images := []member{{"first", newImage(t, amd64, "", baseLayer(t))}, {namespace: "second"}, {namespace: "arm64"}}
	images[1].node, images[2].node = images[0].node, images[0].node
	a := publish(t, newBundle(t, images...)) // for its users; each client pulls a bundle of its own
	certsD := startGateway(t, a, "node").certsD
	reg := startBehindTLS(t, certsD, "registry.test")
	for _, version := range matrixVersions(t) {
		t.Run(version, func(t *testing.T) {
			for _, client := range stockClients(t, version, certsD) {
				t.Run(client.name, func(t *testing.T) {
					matrixPulls(t, client, reg)
					matrixPullsNested(t, client, a.registry)
				})
			}
		})
	}
}

// matrixPulls is what is asked of every client. The layers are of each call's own: a daemon does not
// fetch again what it has.
func matrixPulls(t *testing.T, client stockClient, reg *registry) {
	base := baseLayer(t)
	index := newIndex(t, newImage(t, amd64, "first\n", base), newImage(t, amd64, "second\n", base), newImage(t, arm64, "arm64\n", base))
	reg.pushNode(t, "org/app", "v1", index)
	reg.requests()

	ref := "registry.test/org/app:v1"
	client.pull(t, ref)
	log := reg.requests()
	if got := client.run(t, ref); got != "first\n" {
		t.Errorf("printed %q", got)
	}
	client.visits.check(t, log, index.nodes...)
}

// matrixPullsNested is the same for members in child repositories, each with a user of its own, through the gateway.
func matrixPullsNested(t *testing.T, client stockClient, reg *registry) {
	base := baseLayer(t)
	bundle := newBundle(t,
		member{"first", newImage(t, amd64, "first member\n", base)},
		member{"second", newImage(t, amd64, "second member\n", base)},
		member{"arm64", newImage(t, arm64, "arm64 member\n", base)})
	reg.pushNode(t, "org/app", "nested", bundle)
	reg.requests()

	ref := reg.ref("org/app", "nested")
	client.pull(t, ref)
	log := reg.requests()
	if got := client.run(t, ref); got != "first member\n" {
		t.Errorf("printed %q", got)
	}
	client.visits.check(t, log, bundle.members[0].node, bundle.members[1].node, bundle.members[2].node)
}

// check compares what was fetched of a first, a second and a foreign member.
func (v visits) check(t *testing.T, log []request, members ...node) {
	t.Helper()
	want := [3]string{"whole", "not", "not"}
	if v.every {
		want[1] = "whole"
	}
	if v.metadata {
		want[2] = "metadata"
	}
	for i, image := range members {
		if got := fetched(log, image); got != want[i] {
			t.Errorf("member %d was fetched: %s, want %s", i, got, want[i])
		}
	}
}

// fetched tells how much of an image was asked for: "whole", its "metadata", or "not".
func fetched(log []request, image node) string {
	asked := func(desc ocispec.Descriptor) bool {
		return slices.ContainsFunc(log, func(r request) bool {
			return r.Method == http.MethodGet && r.Reference == desc.Digest.String() && r.Status == http.StatusOK
		})
	}
	// The layers of its own, without the common first one, then the configuration.
	own, config := asked(image.blobs[1].desc), asked(image.blobs[2].desc)
	switch manifest := asked(image.desc); {
	case manifest && config && own:
		return "whole"
	case manifest && config && !own:
		return "metadata"
	case !manifest && !config && !own:
		return "not"
	default:
		return fmt.Sprintf("in part (manifest %t, config %t, layer %t)", manifest, config, own)
	}
}
