package find

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// of matches authorized requests for some content.
func of(d digest.Digest) registrytest.Filter {
	return func(q registrytest.Request) bool { return q.Reference == string(d) && registrytest.WithCredentials(q) }
}

// begin is a pull of which the client has asked for the root and the first two members.
func (s *scene) begin(members []ocispec.Descriptor) {
	s.T.Helper()
	s.pullRoot()
	for _, m := range members[:2] {
		s.Get("manifests", m.Digest)
	}
}

// TestStalledReadAheadLeavesTime: a registry that gives no answer to what is read ahead leaves the client time for its own request.
func TestStalledReadAheadLeavesTime(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.options.Timeout = 3 * time.Second
	s.start(t.TempDir() + "/locations")
	_, members := s.fleet(3)
	s.Registry.Intercept(s.Registry.Stall(registrytest.First(1, of(members[2].Digest))))
	s.begin(members)
	s.Fetch(members[2])
	if n := s.Registry.Count(of(members[2].Digest)); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestFailedReadAheadStops: what fails ahead is asked for once, and stops the rest; the client is told of it by the answer to its
// own request.
func TestFailedReadAheadStops(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	_, members := s.fleet(200)
	for _, m := range members[2:] {
		s.Registry.Intercept(registrytest.Answer(http.StatusServiceUnavailable, nil, registrytest.First(1, of(m.Digest))))
	}
	s.begin(members)
	s.awaitReadAhead(s.idle)
	failed := s.Registry.Count(func(q registrytest.Request) bool { return q.Status == http.StatusServiceUnavailable })
	if failed < 1 || failed > readAheadRequests {
		t.Errorf("%d failures", failed)
	}
	s.Fetch(members[2])
	if n := s.Registry.Count(of(members[2].Digest)); n != 2 {
		t.Errorf("%d requests", n)
	}
	s.withReadAhead(func(a *readAhead) {
		if a.outstanding > 8 { // the first two members' blobs
			t.Errorf("%d answers wait", a.outstanding)
		}
	})
}

// TestReadAheadOutlivesItsRequest: a client that goes away while its answer is on its way gets it when it comes again.
func TestReadAheadOutlivesItsRequest(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	_, members := s.fleet(3)
	last := members[2].Digest
	come, answer := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(answer) })
	defer release()
	s.Registry.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if of(last)(registrytest.Describe(req)) {
			close(come)
			<-answer
		}
		return false
	})
	s.begin(members)
	<-come
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Server.URL+"/v2/org/app/manifests/"+last.String()+"?ns="+s.Registry.Host(), nil)
		if err == nil {
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
		gone <- err
	}()
	asked := func(a *readAhead) bool {
		return a.pulls[tenant{repository: s.repository("org/app")}].items[last].requested
	}
	s.awaitReadAhead(asked)
	cancel()
	if err := <-gone; err == nil {
		t.Fatal("it was answered")
	}
	s.awaitReadAhead(func(a *readAhead) bool { return !asked(a) })
	release()
	s.Fetch(members[2])
	if n := s.Registry.Count(of(last)); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestReadAheadServesOnlyAllOfABlob: a range of the whole is the whole; a client that has a part already is served the rest.
func TestReadAheadServesOnlyAllOfABlob(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	_, members := s.fleet(3)
	s.begin(members)
	next := s.Children(s.Get("manifests", members[2].Digest).Body)
	s.awaitReadAhead(s.idle)
	for _, r := range []struct {
		header           string
		status, requests int
	}{{"bytes=0-", http.StatusOK, 1}, {"bytes=1-", http.StatusPartialContent, 2}} {
		d := next[0]
		next = next[1:]
		got := s.Do(http.MethodGet, "/v2/org/app/blobs/"+d.Digest.String(), "Range", r.header)
		if n := s.Registry.Count(of(d.Digest)); got.Status != r.status || n != r.requests {
			t.Errorf("%s: %d after %d requests", r.header, got.Status, n)
		}
	}
}

// TestReadAheadEndsWithTheRight: in mode pod an answer does not outlast the right to it.
func TestReadAheadEndsWithTheRight(t *testing.T) {
	t.Parallel()
	for mode, requests := range map[frontMode]int{node: 1, pod: 2} {
		s := newScene(t, mode)
		s.Registry.Allow("pod", fronttest.Secret, "org/app", "org/app/web")
		s.User = map[frontMode][2]string{pod: {"pod", fronttest.Secret}}[mode]
		_, members := s.fleet(3)
		s.begin(members)
		s.awaitReadAhead(s.idle)
		s.withReadAhead(func(a *readAhead) {
			for _, p := range a.pulls {
				for _, i := range p.items {
					i.fetched = i.fetched.Add(-rightsTime)
				}
			}
		})
		s.Fetch(members[2])
		if n := s.Registry.Count(of(members[2].Digest)); n != requests {
			t.Errorf("mode %d: %d requests", mode, n)
		}
	}
}

// TestIdleClientMakesRoom: a client that asks for nothing any more makes room for another.
func TestIdleClientMakesRoom(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	s.options.Prefetch = 2
	s.start(t.TempDir() + "/locations")
	_, members := s.fleet(8)
	var deep []ocispec.Descriptor
	for _, text := range []string{"1", "2", "3", "4"} {
		deep = append(deep, registrytest.Member(s.Registry.Image("org/app/a/b", registrytest.TarLayer(map[string]string{"b": text})), "b"))
	}
	second := s.Registry.Index("org/app/a", deep...)
	s.begin(members)
	s.awaitReadAhead(func(a *readAhead) bool { return a.outstanding == 2 && s.idle(a) })
	s.Do(http.MethodGet, "/v2/org/app/a/manifests/"+second.Digest.String())
	ask := func(d ocispec.Descriptor) { s.Do(http.MethodGet, "/v2/org/app/a/manifests/"+d.Digest.String()) }
	ask(deep[0])
	ask(deep[1])
	if n := s.Registry.Count(of(deep[2].Digest)) + s.Registry.Count(of(deep[3].Digest)); n != 0 {
		t.Errorf("%d requests without room", n)
	}
	s.withReadAhead(func(a *readAhead) {
		a.pulls[tenant{repository: s.repository("org/app")}].lastRequest = time.Now().Add(-readAheadIdle)
	})
	ask(deep[2])
	s.awaitReadAhead(func(a *readAhead) bool { return len(a.pulls) == 1 && a.outstanding == 2 && s.idle(a) })
}

// TestForgottenPullIsNotReadAhead: of a pull that is forgotten nothing more is expected, and after the end of the gateway no pull is.
func TestForgottenPullIsNotReadAhead(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	root, members := s.fleet(3)
	s.Get("manifests", root.Digest)
	s.withReadAhead(func(a *readAhead) { a.pulls[tenant{repository: s.repository("org/app")}].forget() })
	s.Fetch(members[2])
	empty := func(a *readAhead) bool { return len(a.pulls) == 0 && a.outstanding == 0 && a.items == 0 }
	s.awaitReadAhead(empty)
	s.Server.Config.Handler.(*front).Close()
	newer := s.Registry.Index("org/app", registrytest.Member(s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"n": "1"})), "web"))
	s.Get("manifests", root.Digest)
	s.Get("manifests", newer.Digest)
	s.withReadAhead(func(a *readAhead) {
		if !empty(a) {
			t.Error("a pull is remembered")
		}
	})
}

// TestSizeIsBound: of content whose descriptor says what it is, no more is read than that.
func TestSizeIsBound(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int64{"said": 8 << 20, "not said": -1} {
		body := &counted{Reader: io.LimitReader(zeros{}, 8<<20)}
		g := newFront(frontOptions{mode: node})
		p := nested.PlaceIn(clienttest.Repository(t, "reg.test/p"), ocispec.Descriptor{Digest: digest.FromString("small"), Size: 1 << 10}).AsStrict()
		ctx, cancel := withBudget(t.Context(), tenant{}, time.Minute)
		defer cancel()
		c, err := g.readContent(ctx, &http.Response{Body: io.NopCloser(body), ContentLength: length, Header: http.Header{}}, g.readLimit(p))
		if err != nil {
			t.Fatal(err)
		}
		if reason := c.mismatch(p); int64(body.read) > max(0, -length)*(1<<10+1) || !strings.Contains(reason, "1024") {
			t.Errorf("%s: %d bytes were read: %s", name, body.read, reason)
		}
	}
}

type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestOnlySmallContentForThisPlatformIsReadAhead: only what a client of this platform asks the registry for, and what is small, is read ahead.
func TestOnlySmallContentForThisPlatformIsReadAhead(t *testing.T) {
	lesser := ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"} // runs on arm64
	if runtime.GOARCH == "amd64" {
		lesser = ocispec.Platform{OS: "linux", Architecture: "386"}
	}
	mine := platforms.DefaultSpec()
	member := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Size: 1}
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Size: 1}
	with := func(d ocispec.Descriptor, change func(*ocispec.Descriptor)) ocispec.Descriptor { change(&d); return d }
	for _, c := range []struct {
		name        string
		d           ocispec.Descriptor
		entry, want bool
	}{
		{"member", member, true, true},
		{"this platform's", with(member, func(d *ocispec.Descriptor) { d.Platform = &mine }), true, true},
		{"another that runs here", with(member, func(d *ocispec.Descriptor) { d.Platform = &lesser }), true, false},
		{"blob as a member", layer, true, false},
		{"layer", layer, false, true},
		{"large", with(layer, func(d *ocispec.Descriptor) { d.Size = 1 << 20 }), false, false},
		{"embedded", with(layer, func(d *ocispec.Descriptor) { d.Data = []byte("x") }), false, false},
		{"long media type", with(layer, func(d *ocispec.Descriptor) { d.MediaType = strings.Repeat("x", 256) }), false, false},
		{"elsewhere", with(layer, func(d *ocispec.Descriptor) { d.URLs = []string{"https://cdn.test/x"} }), false, false},
	} {
		p, err := nested.PlaceFields{
			By: clienttest.Repository(t, "reg.test/p"), Descriptor: c.d, Targets: []auth.Repository{clienttest.Repository(t, "reg.test/p/a")},
			Strict: true, Entry: c.entry, Depth: 1,
		}.Place()
		if err != nil {
			t.Fatal(err)
		}
		if got := registry.IsExpected(p.Descriptor(), p.Entry(), true); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// TestOnlyUsedHeadersAreKept: only the headers that clients get are kept with content.
func TestOnlyUsedHeadersAreKept(t *testing.T) {
	t.Parallel()
	header := http.Header{"Etag": {"e"}, "X-Large": {strings.Repeat("x", 1<<20)}}
	ctx, cancel := withBudget(t.Context(), tenant{}, time.Minute)
	defer cancel()
	c, err := newFront(frontOptions{mode: node}).readContent(ctx, &http.Response{Body: http.NoBody, Header: header}, 1)
	if err != nil || len(c.header) != 1 || c.header.Get("Etag") != "e" {
		t.Errorf("%v, %v", c.header, err)
	}
}

// TestReadAheadWaitsForTheMirror: a mirror that takes long is not passed by for what nobody has asked for yet.
func TestReadAheadWaitsForTheMirror(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	mirror := clienttest.NewRegistry(t)
	s.options.hostsDir = clienttest.PlainHTTP(t, s.Registry.Host())
	s.options.Timeout = 3 * time.Second
	hosts := filepath.Join(s.options.hostsDir, s.Registry.Host(), "hosts.toml")
	if err := os.WriteFile(hosts, fmt.Appendf(nil, "server = %q\n[host.%q]\n", s.Registry.URL(), mirror.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(filepath.Join(t.TempDir(), "locations"))
	_, members := s.fleet(3)
	last := members[2].Digest
	mirror.Intercept(mirror.Stall(registrytest.First(1, func(q registrytest.Request) bool { return q.Reference == string(last) })))
	s.begin(members)
	s.awaitReadAhead(s.idle)
	if n := s.Registry.Count(of(last)); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
	s.Fetch(members[2])
	if n := s.Registry.Count(of(last)); n != 1 {
		t.Errorf("the registry was asked %d times", n)
	}
}

// TestLayerIsNoManifest: a layer that is in the location cache is not under /manifests/, at the registry and here.
func TestLayerIsNoManifest(t *testing.T) {
	t.Parallel()
	s := newScene(t, node)
	_, members := s.fleet(1)
	s.pullRoot()
	layer := s.Children(s.Get("manifests", members[0].Digest).Body)[0]
	if got := s.Get("manifests", layer.Digest); got.Status != http.StatusNotFound {
		t.Errorf("%d", got.Status)
	}
	s.Fetch(layer)
}
