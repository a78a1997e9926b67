package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/gateway"
)

// crowdRegistry has a small manifest in org/app, documents without their last byte below evil, and in wide a nested index
// of indexes that have as many entries as they may.
type crowdRegistry struct {
	*app
	wide    digest.Digest
	content map[string][]byte
	begun   atomic.Int64 // documents without their last byte
}

// smallManifest is what the crowd's neighbour pulls.
const smallManifest = `{"schemaVersion":2}`

func startCrowdRegistry(t testing.TB) *crowdRegistry {
	t.Helper()
	r := &crowdRegistry{content: map[string][]byte{"small": []byte(smallManifest), "list": []byte(`{"tags":["wide"]}`)}}
	var indexes []string
	for i := range 40 {
		var entries []string
		for j := range 9900 {
			entries = append(entries, crowdEntry(ocispec.MediaTypeImageManifest, digest.FromString(fmt.Sprint(i, j)), 2))
		}
		data, d := r.index(entries)
		indexes = append(indexes, crowdEntry(ocispec.MediaTypeImageIndex, d, len(data)))
	}
	data, d := r.index(indexes)
	r.content["wide"], r.wide = data, d
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.app = &app{registry: &registry{host: strings.TrimPrefix(server.URL, "http://"), scheme: "http"}}
	return r
}

func crowdEntry(mediaType string, d digest.Digest, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%q:"x"}}`, mediaType, d, size, childNamespace)
}

func (r *crowdRegistry) index(entries []string) ([]byte, digest.Digest) {
	data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, strings.Join(entries, ","))
	d := digest.FromBytes(data)
	r.content[d.String()] = data
	return data, d
}

// ServeHTTP implements [http.Handler].
func (r *crowdRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	if strings.HasPrefix(req.URL.Path, "/v2/evil/") {
		body := make([]byte, 8<<20)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[1:]) // whoever went away has no use for it
		r.begun.Add(1)
		<-req.Context().Done()
		return
	}
	data, ok := r.content[req.URL.Path[strings.LastIndex(req.URL.Path, "/")+1:]]
	if !ok {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(data).String())
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data)
}

// TestGatewayCrowd: what a hostile tenant lets the gateway hold is bounded by max_memory: sixty documents without their last
// byte at once, then searches below 40 indexes of 9,900 entries. A neighbour is answered meanwhile.
func TestGatewayCrowd(t *testing.T) {
	needs(t, "all", "linux")
	const maxMemory = 48 << 20
	reg := startCrowdRegistry(t)
	g := startGateway(t, reg.app, "node", fmt.Sprintf("max_memory = %d", maxMemory), `upstream_timeout = "20s"`)
	client := g.through(t)
	get := func(path string) (int, string) {
		status, body, err := getOver(t, client.Transport, "https://"+g.address+"/v2/"+path+"?ns="+reg.host)
		must(t, err)
		return status, body
	}
	peak, done := make(chan int64), make(chan struct{})
	go func() { peak <- peakMemory(g.cmd.Process.Pid, done) }()
	var crowd sync.WaitGroup
	var gone atomic.Int64
	for i := range 60 {
		crowd.Go(func() {
			status, _ := get(fmt.Sprintf("evil/%d/manifests/v1", i))
			if gone.Add(1); status < 500 {
				t.Errorf("status %d", status)
			}
		})
	}
	g.await(t, func() bool { return reg.begun.Load() > 0 })
	if status, body := get("org/app/manifests/small"); status != http.StatusOK || body != smallManifest || gone.Load() > 0 {
		t.Errorf("%d %s after %d others", status, body, gone.Load())
	}
	crowd.Wait()
	for i := range 2 {
		get("wide/blobs/" + digest.FromString(fmt.Sprint("missing", i)).String())
	}
	close(done)
	if most := <-peak; most > maxMemory+2*gateway.MemoryBeside {
		t.Errorf("it held %d MiB", most>>20)
	} else {
		t.Logf("it held %d MiB", most>>20)
	}
}
