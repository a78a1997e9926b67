package doctor

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/auth"
)

// answers is a gateway that gives the same answer to everything, and takes note of what is asked.
type answers struct {
	status int
	body   string
	asked  []string
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.asked = append(a.asked, req.URL.EscapedPath())
	return &http.Response{Header: http.Header{}, StatusCode: a.status, Body: io.NopCloser(strings.NewReader(a.body)), Request: req}, nil
}

// FuzzManifest: what a manifest, an index or an error says leads to manifests of the same repository and to nothing else.
func FuzzManifest(f *testing.F) {
	entry := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,"digest":"sha256:` + strings.Repeat("a", 64) + `"}`
	for _, body := range []string{
		"", "null", "[]", `{"manifests":null}`, `{"manifests":[null,{},1]}`, `{"manifests":[` + entry + `]}`, `{"manifests":[` + strings.Repeat(entry+",", 300) + entry + `]}`,
		`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"../../../_catalog"}]}`, `{"errors":[{"message":"; \u001b[31m"}]}`,
	} {
		f.Add(uint16(http.StatusOK), body, false)
		f.Add(uint16(http.StatusOK), body, true)
		f.Add(uint16(http.StatusNotFound), body, false)
	}
	ref, err := auth.ParseReference("reg.test/org/app:v1")
	if err != nil {
		f.Fatal(err)
	}
	allowed := regexp.MustCompile(`^/v2(/reg\.test)?/org/app/manifests/(v1|[a-z0-9.+_-]+:[a-zA-Z0-9=_-]+)$`)
	c := config.Default()
	f.Fuzz(func(t *testing.T, status uint16, body string, inPath bool) {
		gateway := &answers{status: int(status), body: body}
		d := &doctor{config: &c}
		p := &pull{doctor: d, client: &client{http: &http.Client{Transport: gateway}, address: "127.0.0.1:1"}, way: way{inPath: inPath}, from: ref.Repository()}
		p.run(t.Context(), ref)
		if len(gateway.asked) > 1+maxManifests {
			t.Errorf("%d requests", len(gateway.asked))
		}
		for _, path := range gateway.asked {
			if !allowed.MatchString(path) {
				t.Errorf("asked for %s", strconv.Quote(path))
			}
		}
		if r := p.row(ref); r.Result == "" || r.Failed != (p.failures != nil) || p.pulled == 0 && !r.Failed {
			t.Errorf("%+v", r)
		}
		for _, p := range p.failures {
			if p.What == "" || len(p.String()) > 10_000 {
				t.Errorf("a problem of %d characters", len(p.String()))
			}
		}
	})
}
