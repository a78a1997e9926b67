package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// faulty fails one request, or all from one on.
type faulty struct {
	next    http.Handler
	at      int64
	forever bool
	aborts  bool // break the connection off, in place of an answer
	count   atomic.Int64
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := f.count.Add(1)
	switch {
	case n < f.at || n > f.at && !f.forever:
		f.next.ServeHTTP(w, r)
	case f.aborts:
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// TestCopyFaults: whichever request fails at the destination, once or from then on, the tag never points to something
// incomplete, and a copy that was interrupted completes when it is run again.
func TestCopyFaults(t *testing.T) {
	base := baseLayer(t)
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", base)}, member{"worker", newImage(t, amd64, "worker\n", base)})
	src := publishAt(t, startRegistry(t, nil), bundle)
	client := newNestctl(t, dockerConfig(t, nil, nil))
	for _, strict := range []bool{false, true} {
		reg := registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, nil)
		behind := func(t *testing.T, f *faulty) string {
			f.next = reg.requestLog
			server := httptest.NewUnstartedServer(f)
			server.Config.ErrorLog = quiet
			server.Start()
			t.Cleanup(server.Close)
			return strings.TrimPrefix(server.URL, "http://")
		}
		all := &faulty{at: 1 << 40}
		client.copy(t, src.ref, behind(t, all)+"/all:v1")
		for n := int64(1); n <= all.count.Load(); n++ {
			faults := []*faulty{{at: n, aborts: strict == (n%2 == 0)}}
			if n%6 == 0 { // which take their time
				faults = append(faults, &faulty{at: n, forever: true, aborts: n%4 == 0})
			}
			for _, f := range faults {
				name := fmt.Sprintf("strict-%t-%d-%t-%t", strict, n, f.forever, f.aborts)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					parent := strings.ToLower(name)
					to := behind(t, f) + "/" + parent + ":v1"
					failed := client.try(t, "copy", "--plain-http", src.ref, to).code != 0
					if failed && !f.forever {
						t.Error("one failed request was too many")
					}
					if reg.holds(t, parent, "manifests/v1") {
						reg.whole(t, parent, bundle)
					} else if !failed {
						t.Error("not tagged")
					}
					if failed {
						client.copy(t, src.ref, reg.ref(parent, "v1"))
						reg.whole(t, parent, bundle)
					}
				})
			}
		}
	}
}

// holds asks past the log.
func (r *registry) holds(t testing.TB, repository, path string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://registry/v2/"+repository+"/"+path, http.NoBody)
	must(t, err)
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest+", "+ocispec.MediaTypeImageIndex)
	answer, err := r.direct.Do(req)
	must(t, err)
	must(t, answer.Body.Close())
	return answer.StatusCode == http.StatusOK
}

// whole checks that all below a nested index is where it belongs.
func (r *registry) whole(t testing.TB, repository string, bundle node) {
	t.Helper()
	for _, m := range bundle.members {
		at := repository + "/" + m.namespace
		if !r.holds(t, at, "manifests/"+m.node.desc.Digest.String()) {
			t.Errorf("%s lacks its manifest", at)
		}
		for _, blob := range m.node.blobs {
			if !r.holds(t, at, "blobs/"+blob.desc.Digest.String()) {
				t.Errorf("%s lacks %s", at, blob.desc.Digest)
			}
		}
	}
}
