package find

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/fronttest"
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
	q := Request{kind: Tags, name: "org/app", repository: repository, query: url.Values{"ns": {"reg.test"}}}
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
	fronttest.AddRequests(f)
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
