package registry_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/nestedoci/nested/remotes/registry"
)

// TestNextPage: links in every form that RFC 8288 allows lead to the next page, and nowhere else.
func TestNextPage(t *testing.T) {
	const asked = "https://reg.test/v2/a/referrers/sha256:x?artifactType=y"
	for name, test := range map[string]struct {
		links []string
		want  string // the query; empty: none
		fails bool
	}{
		"none":                {},
		"relative":            {links: []string{`</v2/a/referrers/sha256:x?last=1>; rel="next"`}, want: "last=1"},
		"query alone":         {links: []string{`<?last=1&n=2>; rel=next`}, want: "last=1&n=2"},
		"absolute":            {links: []string{`<https://reg.test/v2/a/referrers/sha256:x?last=1>;rel=next`}, want: "last=1"},
		"port written out":    {links: []string{`<https://REG.test:443/v2/a/referrers/sha256:x?last=1>; rel="next"`}, want: "last=1"},
		"escaped path":        {links: []string{`</v2/a/referrers/sha256%3Ax?next_page=abc%3D>; rel="next"`}, want: "next_page=abc%3D"},
		"in capitals":         {links: []string{`<?last=1>; REL="NEXT"`}, want: "last=1"},
		"further parameters":  {links: []string{`<?last=1>; title="a, b; rel=prev \"x\""; type=text/plain; rel="next"; hreflang=en`}, want: "last=1"},
		"a flag":              {links: []string{`<?last=1>; crossorigin; rel=next`}, want: "last=1"},
		"several relations":   {links: []string{`<?last=1>; rel="last next"`}, want: "last=1"},
		"several links":       {links: []string{`<?first=1>; rel="first", <?last=1>; rel="next"`}, want: "last=1"},
		"several headers":     {links: []string{`<?first=1>; rel="first"`, `<?last=1>; rel="next"`}, want: "last=1"},
		"comma in the URL":    {links: []string{`<?last=a,b>; rel="next"`}, want: "last=a%2Cb"},
		"another relation":    {links: []string{`<?last=1>; rel="nextish"; title="next"`}},
		"the first rel":       {links: []string{`<?last=1>; rel="prev"; rel="next"`}},
		"another host":        {links: []string{`<https://evil.test/v2/a/referrers/sha256:x?last=1>; rel="next"`}, fails: true},
		"another port":        {links: []string{`<https://reg.test:444/v2/a/referrers/sha256:x?last=1>; rel="next"`}, fails: true},
		"another scheme":      {links: []string{`<http://reg.test/v2/a/referrers/sha256:x?last=1>; rel="next"`}, fails: true},
		"another path":        {links: []string{`</v2/b/referrers/sha256:x?last=1>; rel="next"`}, fails: true},
		"a user":              {links: []string{`<https://u:p@reg.test/v2/a/referrers/sha256:x?last=1>; rel="next"`}, fails: true},
		"without brackets":    {links: []string{`/v2/a/referrers/sha256:x?last=1; rel="next"`}, fails: true},
		"a quote that begins": {links: []string{`<?last=1>; title="rel=next`}, fails: true},
		"no URL":              {links: []string{`<%zz://>; rel="next"`}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			req := &http.Request{URL: parse(t, asked)}
			query, more, err := registry.NextPage(&http.Response{Request: req, Header: http.Header{"Link": test.links}})
			if (err != nil) != test.fails || more != (test.want != "") || query.Encode() != test.want {
				t.Errorf("%v %v %v", query, more, err)
			}
		})
	}
}

// TestNextPageAfterRedirect: a link is resolved against the URL that answered; the next page is asked for where the
// first was.
func TestNextPageAfterRedirect(t *testing.T) {
	first := &http.Request{URL: parse(t, "https://front.test/v2/a/referrers/d")}
	last := &http.Request{URL: parse(t, "https://back.test/api/v2/a/referrers/d"), Response: &http.Response{Request: first}}
	for link, ok := range map[string]bool{
		"<?last=1>; rel=next": true,
		"<https://front.test/v2/a/referrers/d?last=1>; rel=next":   true,
		"<https://back.test/v2/secret/referrers/d?last=1>; rel=ne": true, // none
		"<https://back.test/v2/a/referrers/d?last=1>; rel=next":    false,
	} {
		query, _, err := registry.NextPage(&http.Response{Request: last, Header: http.Header{"Link": {link}}})
		if (err == nil) != ok || ok && len(query) > 0 && query.Get("last") != "1" {
			t.Errorf("%s: %v %v", link, query, err)
		}
	}
}

func parse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
