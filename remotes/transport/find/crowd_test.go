package find

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/memory"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// crowd is a scene with little memory beside a tenant whose registry answers with as much as it may, and never with the
// last byte.
type crowd struct {
	*scene
	leave context.CancelFunc
	here  sync.WaitGroup
	ended atomic.Int64
}

func newCrowd(t *testing.T, mode frontMode) *crowd {
	c := &crowd{scene: newScene(t, mode)}
	c.options.Memory = NewMemory(16 << 20)
	c.options.Limits = nested.Limits{Manifest: 512 << 10}
	c.start(filepath.Join(t.TempDir(), "locations"))
	return c
}

// neverEnds answers for repositories below org/evil with all but the last of so many bytes, and says how many there are or
// does not.
func neverEnds(size int, says bool) registrytest.Interceptor {
	body := []byte(strings.Repeat(" ", size))
	return func(w http.ResponseWriter, req *http.Request) bool {
		if q := registrytest.Describe(req); !strings.HasPrefix(q.Repository, "org/evil/") {
			return false
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", string(digest.FromBytes(body)))
		if says || req.Method == http.MethodHead {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		if req.Method == http.MethodHead {
			return true
		}
		_, _ = w.Write(body[:size-1])
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
		return true
	}
}

// come makes many requests of the tenant, and waits until no more of them find room.
func (c *crowd) come(method string, path func(i int) string) {
	c.T.Helper()
	ctx, leave := context.WithCancel(c.T.Context())
	c.leave = leave
	for i := range 30 {
		req, err := http.NewRequestWithContext(ctx, method, c.Server.URL+"/v2/"+path(i)+"?ns="+c.Registry.Host(), nil)
		if err != nil {
			c.T.Fatal(err)
		}
		if c.User[0] != "" {
			user := fmt.Sprint("evil", i)
			c.Registry.Allow(user, fronttest.Secret, strings.Join(strings.Split(path(i), "/")[:3], "/")) // who comes late is asked for it
			req.SetBasicAuth(user, fronttest.Secret)
		}
		c.here.Go(func() {
			defer c.ended.Add(1)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	c.awaitWaiting(func(waiting int) bool { return waiting > 0 })
}

func (c *crowd) awaitWaiting(so func(waiting int) bool) {
	c.T.Helper()
	waiting := c.options.Memory.content.Waiting
	clienttest.Await(c.T, func() bool { return so(waiting()) }, func() string { return fmt.Sprintf("%d wait, %d have gone", waiting(), c.ended.Load()) })
}

// disperse lets the tenant go.
func (c *crowd) disperse() {
	c.leave()
	c.here.Wait()
}

// TestEndlessAnswersHoldNobodyUp: however many requests there are for manifests that never end, of whatever kind, from one repository or many,
// another tenant's pulls and lists are answered while they wait.
func TestEndlessAnswersHoldNobodyUp(t *testing.T) {
	t.Parallel()
	const most = 1 << 20 // twice the limit for manifests and indexes below nested indexes
	some := digest.FromString("some")
	for name, test := range map[string]struct {
		method, path string
		size         int
		hidden       bool // how much it is
		mode         frontMode
	}{
		"index":              {path: "manifests/" + string(some), size: most},
		"index, pod":         {path: "manifests/" + string(some), size: most, mode: pod},
		"chunked":            {path: "manifests/" + string(some), size: most, hidden: true},
		"tag":                {path: "manifests/v1", size: most},
		"HEAD of a manifest": {path: "manifests/v1", size: most, method: http.MethodHead},
		"tags":               {path: "tags/list", size: 4 << 20},
		"referrers":          {path: "referrers/" + string(some), size: 4 << 20},
		"smaller":            {path: "manifests/v1", size: 200 << 10},
	} {
		for _, repositories := range []int{1, 30} {
			t.Run(fmt.Sprintf("%s, %d", name, repositories), func(t *testing.T) {
				mode := max(node, test.mode)
				c := newCrowd(t, mode)
				c.Publish()
				if mode == pod {
					c.User = [2]string{"pod", fronttest.Secret}
					c.Registry.Allow("pod", fronttest.Secret, "org/app", "org/app/web", "org/app/a", "org/app/a/b")
				}
				c.Registry.Intercept(neverEnds(test.size, !test.hidden))
				method := test.method
				if method == "" {
					method = http.MethodGet
				}
				c.come(method, func(i int) string { return fmt.Sprintf("org/evil/%d/%s", i%repositories, test.path) })
				root := c.Pull("v1")
				for _, path := range []string{"tags/list", "referrers/" + string(root)} {
					if got := c.Do(http.MethodGet, "/v2/org/app/"+path); got.Status != http.StatusOK {
						t.Errorf("%s: %d %s", path, got.Status, got.Body)
					}
				}
				if n := c.ended.Load(); n > 0 {
					t.Errorf("%d of the others have gone", n)
				}
				c.disperse()
			})
		}
	}
}

// TestNoMemoryIsToldWithRetryAfter: who waits for longer than a registry may take is told when to come again.
func TestNoMemoryIsToldWithRetryAfter(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, node)
	c.options.Timeout = time.Second
	c.start(filepath.Join(t.TempDir(), "locations"))
	c.Publish()
	giveBack := fill(t, c.options.Memory.content)
	got := c.Do(http.MethodGet, "/v2/org/app/manifests/v1")
	giveBack()
	if got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != memoryRetry || !strings.Contains(got.Body, "max_memory") {
		t.Errorf("%d %v %s", got.Status, got.Header, got.Body)
	}
	c.Pull("v1")
}

// fill takes all of a pool, for many, and returns what gives it back.
func fill(t *testing.T, p *pool) (giveBack func()) {
	t.Helper()
	var all []*portion
	for i := 0; p.Free() > 1; i++ {
		c, ok := p.TakeFree(holder(t, fmt.Sprint("other", i)), p.Free()/2)
		if !ok {
			t.Fatalf("half of %d bytes are not free", p.Free())
		}
		all = append(all, c)
	}
	return func() {
		for _, c := range all {
			c.Release()
		}
	}
}

// TestWideSearchEnds: a search below more than there is memory for ends, and others search beside it.
func TestWideSearchEnds(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, node)
	c.Publish()
	var wide []ocispec.Descriptor
	for i := range 12 {
		var entries strings.Builder
		for j := range 1500 {
			fmt.Fprintf(&entries, `,{"mediaType":%q,"digest":%q,"size":2,"annotations":{%q:"web"}}`, ocispec.MediaTypeImageManifest, digest.FromString(fmt.Sprint(i, j)), nested.Annotation)
		}
		body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, entries.String()[1:])
		d := c.Registry.Put("org/app/a", ocispec.MediaTypeImageIndex, []byte(body))
		wide = append(wide, registrytest.Member(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d.Digest, Size: d.Size}, "a"))
	}
	c.Registry.Tag("org/app", "wide", c.Registry.Index("org/app", wide...).Digest)
	for range 2 {
		got := c.Get("blobs", digest.FromString("missing"))
		if got.Status != http.StatusServiceUnavailable || !strings.Contains(got.Body, "more is below its indexes") {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	if n := c.options.Memory.walked.Used(); n > 1<<10 {
		t.Errorf("%d bytes are kept of it", n)
	}
	c.Fetch(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: c.Pull("v1")})
}

// TestIdleContentIsEvicted: what waits for its client, after a HEAD or read ahead, makes room for what is asked for, and is
// asked for again.
func TestIdleContentIsEvicted(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, node)
	_, members := c.fleet(20)
	c.begin(members)
	c.awaitReadAhead(c.idle)
	for i := range 40 {
		body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"x":"%0*d"}`, ocispec.MediaTypeImageManifest, 200<<10, i)
		c.Registry.Put("org/app", ocispec.MediaTypeImageManifest, []byte(body), fmt.Sprint("tag", i))
		if got := c.Do(http.MethodHead, fmt.Sprint("/v2/org/app/manifests/tag", i)); got.Status != http.StatusOK {
			t.Fatalf("%+v", got)
		}
	}
	held := len(c.Server.Config.Handler.(*front).held.all)
	if free := c.options.Memory.content.Free(); held == 0 || held == 40 || free < 0 {
		t.Errorf("%d are held, %d bytes are free", held, free)
	}
	for _, m := range members[2:] {
		c.Fetch(m)
	}
	for i := range 40 {
		if got := c.Do(http.MethodGet, fmt.Sprint("/v2/org/app/manifests/tag", i)); got.Status != http.StatusOK {
			t.Errorf("%+v", got)
		}
	}
}

// TestReadAheadTakesOnlyFreeMemory: for what nobody asked for yet nothing is given up, and memory not waited for.
func TestReadAheadTakesOnlyFreeMemory(t *testing.T) {
	t.Parallel()
	p := memory.NewPool[tenant](8 << 10)
	kept, ok := p.TakeFree(holder(t, "a"), 3<<10)
	if !ok {
		t.Fatal("it is not free")
	}
	kept.Idle(func() { t.Error("it was given up") })
	ctx, cancel := withBudget(t.Context(), holder(t, "b"), time.Minute)
	defer cancel()
	budgetOf(ctx).readAhead = true
	if _, err := take(ctx, p, 4<<10); !isMemoryError(err) {
		t.Errorf("%v", err)
	}
}

// TestLargeIsPassedOn: an index that is larger than the limit is passed on, and not held in memory.
func TestLargeIsPassedOn(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, node)
	body := strings.Repeat(" ", 20<<20)
	for name, chunked := range map[string]bool{"said": false, "not said": true} {
		c.Registry.ResetIntercepts()
		c.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if registrytest.Describe(req).Repository != "org/large" {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			if !chunked {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			}
			_, _ = io.WriteString(w, body)
			return true
		})
		got := c.Do(http.MethodGet, "/v2/org/large/manifests/"+string(digest.FromString(body)))
		if got.Status != http.StatusOK || got.Body != body {
			t.Errorf("%s: %d, %d bytes", name, got.Status, len(got.Body))
		}
	}
}

// TestEndlessAnswersOfAllSizesHoldNobodyUp: requests each of which needs half of what is left, for manifests that never end, hold a neighbour up
// no longer than one of them may have its memory to itself.
func TestEndlessAnswersOfAllSizesHoldNobodyUp(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, node)
	var layers [][]byte
	for i := range 60 {
		layers = append(layers, fmt.Append(nil, "layer ", i))
	}
	c.Registry.Tag("org/app", "large", c.Registry.Image("org/app", layers...).Digest)
	c.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		name, ok := strings.CutPrefix(registrytest.Describe(req).Repository, "org/evil/")
		size, _, _ := strings.Cut(name, "/")
		n, err := strconv.Atoi(size)
		return ok && err == nil && neverEnds(n, true)(w, req)
	})
	ctx, leave := context.WithCancel(t.Context())
	c.leave = leave
	p := c.options.Memory.content
	const more = 2000 // than its length is what is taken for a manifest
	for n := int64(1<<20 - more); n > 0; n = min(1<<20, p.Free()/2) - more {
		before := p.Free()
		path := fmt.Sprintf("%s/v2/org/evil/%d/%d/manifests/v1?ns=%s", c.Server.URL, n, before, c.Registry.Host())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.here.Go(func() {
			if resp, failed := http.DefaultClient.Do(req); failed == nil {
				_ = resp.Body.Close()
			}
		})
		clienttest.Await(t, func() bool { return p.Free() != before }, func() string { return fmt.Sprintf("no room for %d bytes, %d are free", n, before) })
	}
	got := make(chan fronttest.Reply, 1)
	go func() { got <- c.Do(http.MethodGet, "/v2/org/app/manifests/large") }()
	c.awaitWaiting(func(waiting int) bool { return waiting > 0 })
	if got := <-got; got.Status != http.StatusOK {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	c.disperse()
}
