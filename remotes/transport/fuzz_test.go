package transport

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// FuzzNextPage: whatever link a registry gives, a client is led to the gateway's own path with the parameters of the link.
func FuzzNextPage(f *testing.F) {
	for _, s := range []string{`</v2/org/app/tags/list?n=1&last=a>; rel="next"`, `<?next_page=x&ns=evil>; title="a, b"; REL=next`, `<https://evil.test/?last=a&ns=evil>; rel=next`, `<>; rel="next"`, `<a>b>; rel=next`, "<?last=\r\nX:y>; rel=next", `<?last=%0d%0aX>; rel="next"`} {
		f.Add(s)
	}
	repository, err := auth.ParseRepository("reg.test/org/app")
	if err != nil {
		f.Fatal(err)
	}
	q := Request{kind: Tags, repository: repository, query: url.Values{"ns": {"reg.test"}}}
	f.Fuzz(func(t *testing.T, link string) {
		asked := &http.Request{URL: &url.URL{Scheme: "https", Host: "reg.test", Path: "/v2/org/app/tags/list"}}
		next, err := q.nextPage(&http.Response{Request: asked, Header: http.Header{"Link": {link}}})
		if next == "" || err != nil {
			return
		}
		target, ok := strings.CutPrefix(next, "</v2/org/app/tags/list?")
		query, end := strings.CutSuffix(target, `>; rel="next"`)
		values, err := url.ParseQuery(query)
		if !ok || !end || err != nil || strings.ContainsAny(query, "<>\r\n\" ") || len(values["ns"]) != 1 || values.Get("ns") != "reg.test" {
			t.Errorf("%q: %q", link, next)
		}
	})
}

// FuzzRead: of whatever path and query, what is asked upstream is the path that was asked for.
func FuzzRead(f *testing.F) {
	const d = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, s := range [][2]string{
		{"/v2/", ""}, {"/v2/org/app/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/blobs/" + d, "ns=reg.test:5000"}, {"/v2/org/app/tags/list", "ns=reg.test:5000&n=1"},
		{"/v2/org/app/referrers/" + d, "ns=reg.test:5000&artifactType=x"}, {"/v2/org/../victim/manifests/v1", "ns=reg.test:5000"}, {"/v2//manifests/v1", "ns=reg.test:5000"},
		{"/v2/org%2f..%2fvictim/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/manifests/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/manifests/v1", "ns=evil.test"},
		{"/v2/org/app/manifests/v1", "ns=reg.test:5000&ns=evil.test"}, {"/v2/org/app/manifests/v1", "ns=REG.TEST:5000"}, {"/v2/org/app/blobs/sha256:../../x", "ns=reg.test:5000"},
		{"/evil/v2/org/app/manifests/x", "ns=reg.test:5000"}, {"/v2/other/app/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/manifests/v1", "ns=reg.test:5000"}, {"/v2/tags/list", "ns=reg.test:5000"},
	} {
		f.Add(s[0], s[1])
	}
	host := registry.Host{}
	host.Scheme, host.Host, host.Path = "https", "reg.test:5000", "/v2"
	f.Fuzz(func(t *testing.T, p, query string) {
		q, err := Read(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: p, RawQuery: query}, Header: http.Header{}})
		if err != nil || q.kind == Base {
			return
		}
		if q.repository, err = auth.ParseRepository("reg.test:5000/" + q.name); err != nil {
			return
		}
		reference := q.tag
		if q.digest != "" {
			reference = q.digest.String()
		}
		if q.kind == Tags {
			reference = "list"
		}
		if strings.ContainsAny(reference, "/%?#\\ ") || q.digest != "" && q.digest.Validate() != nil {
			t.Errorf("%q %q: %q", p, query, reference)
		}
		if got, want := host.URL(registry.Request{Repository: q.repository, Path: string(q.kind) + "/" + reference}).String(), "https://reg.test:5000"+p; got != want {
			t.Errorf("%q %q: upstream it is %s", p, query, got)
		}
	})
}
