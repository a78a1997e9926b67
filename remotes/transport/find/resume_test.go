package find

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestBrokenBlobIsResumed: a blob that breaks off upstream goes on from there, over HTTP/1.1 and over HTTP/2, and its client, which may not
// know how to ask for the rest, notices nothing. What brings nothing any more is given up.
func TestBrokenBlobIsResumed(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	small := large[:5000]
	for name, test := range map[string]struct {
		blob   []byte
		asked  string // Range; empty: none
		at     int    // where an answer breaks off
		breaks int
		faults []registrytest.Interceptor
		ranges string // of what the registry is asked for
		broken bool
	}{
		"large":             {large, "", 100_000, 1, nil, " bytes=100000-639999", false},
		"twice":             {large, "", 100_000, 2, nil, " bytes=100000-639999 bytes=200000-639999", false},
		"a range":           {large, "bytes=1000-299999", 100_000, 1, nil, "bytes=1000-299999 bytes=101000-299999", false},
		"ranges unknown":    {large, "", 100_000, 1, []registrytest.Interceptor{registrytest.IgnoreRange()}, " bytes=100000-639999", false},
		"small":             {small, "", 1000, 1, nil, " bytes=1000-4999", false},
		"another, shorter":  {large, "", 100_000, 1, []registrytest.Interceptor{registrytest.Say(http.StatusOK, "text/plain", strings.Repeat("x", 540_000), func(q registrytest.Request) bool { return q.Range != "" })}, " bytes=100000-639999", true},
		"no length is said": {small, "", 0, 0, []registrytest.Interceptor{breakOff}, "", true},
		"nothing any more":  {small, "", 0, 1000, nil, " bytes=0-4999 bytes=0-4999 bytes=0-4999 bytes=0-4999", true},
	} {
		for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(name+" over "+version, func(t *testing.T) {
				t.Parallel()
				s := newScene(t, node)
				if version == "HTTP/2" {
					s = newScene(t, node, registrytest.WithHTTP2())
					s.options.hostsDir = clienttest.Trusting(t, s.Registry.Host(), s.Registry.CA())
					s.start(filepath.Join(t.TempDir(), "locations"))
				}
				blob := s.Registry.PutBlob("org/app", "application/octet-stream", test.blob)
				root := s.Registry.Artifact("org/app", "text/plain", blob)
				s.Registry.Tag("org/app", "v1", root.Digest)
				s.Get("manifests", root.Digest)
				ofBlob := []registrytest.Filter{registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials}
				for _, fault := range test.faults {
					s.Registry.Intercept(fault)
				}
				s.Registry.Intercept(s.Registry.Truncate(test.at, append(ofBlob, registrytest.First(test.breaks))...))

				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Server.URL+"/v2/org/app/blobs/"+blob.Digest.String()+"?ns="+s.Registry.Host(), http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				want := test.blob
				if test.asked != "" {
					req.Header.Set("Range", test.asked)
					want = want[1000:300_000]
				}
				var got []byte
				resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
				if err == nil {
					got, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				if test.broken != (err != nil) || !test.broken && !bytes.Equal(got, want) {
					t.Errorf("got %d of %d bytes, %v", len(got), len(want), err)
				}
				var ranges []string
				for _, q := range s.Registry.Log(ofBlob...) {
					ranges = append(ranges, q.Range)
				}
				if asked := strings.Join(ranges, " "); asked != test.ranges {
					t.Errorf("asked for %q", asked)
				}
			})
		}
	}
}

// breakOff begins to answer with a blob of unknown length, and goes away.
func breakOff(w http.ResponseWriter, req *http.Request) bool {
	if q := registrytest.Describe(req); q.Kind != registrytest.KindBlob || q.Authorization == "" {
		return false
	}
	_, _ = io.WriteString(w, "the first part")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
