package registrytest

import (
	"net/http"
	"regexp"
	"strings"
)

// Describe parses a request into its log entry. Only the registry itself knows the user and the
// scopes behind a bearer token.
func Describe(req *http.Request) Request {
	q := Request{
		Method:        req.Method,
		Host:          req.Host,
		Path:          req.URL.Path,
		Query:         req.URL.RawQuery,
		Header:        req.Header.Clone(),
		Range:         req.Header.Get("Range"),
		Authorization: req.Header.Get("Authorization"),
	}
	q.Kind, q.Repository, q.Reference = route(req.URL.Path)
	q.Scheme, _, _ = strings.Cut(q.Authorization, " ")
	if name, _, ok := req.BasicAuth(); ok {
		q.User = name
	}
	if q.Kind == KindToken {
		q.describeToken(req)
	}
	return q
}

// describeToken adds what only requests to the token service have. Clients put several scopes into
// several parameters or, in a form, into one.
func (q *Request) describeToken(req *http.Request) {
	_ = req.ParseForm() // what can be parsed is enough: the handler refuses the rest
	q.Form = req.Form
	q.Scopes = strings.Fields(strings.Join(req.Form["scope"], " "))
	if req.Method != http.MethodPost {
		return
	}
	q.Grant = req.Form.Get("grant_type")
	if q.Grant == "password" {
		q.User = req.Form.Get("username")
	}
	if q.Grant == "refresh_token" {
		q.User = identityUser
	}
}

// component is the grammar of the distribution specification for one part of a repository's name.
const component = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`

var routes = []struct {
	kind    Kind
	pattern *regexp.Regexp
}{
	{KindToken, regexp.MustCompile(`^/token$`)},
	{KindPing, regexp.MustCompile(`^/v2/$`)},
	{KindSupport, regexp.MustCompile(`^/v2/_nestedoci/child-namespaces$`)},
	{KindManifest, forRepository(`manifests/([^/]+)`)},
	{KindBlob, forRepository(`blobs/([^/]+)`)},
	{KindUpload, forRepository(`blobs/uploads/([^/]*)`)},
	{KindReferrers, forRepository(`referrers/([^/]+)`)},
	{KindTags, forRepository(`tags/list`)},
}

func forRepository(rest string) *regexp.Regexp {
	return regexp.MustCompile(`^/v2/(` + component + `(?:/` + component + `)*)/` + rest + `$`)
}

func route(path string) (kind Kind, repository, reference string) {
	for _, r := range routes {
		if m := r.pattern.FindStringSubmatch(path); m != nil {
			m = append(m, "", "")
			return r.kind, m[1], m[2]
		}
	}
	return KindOther, "", ""
}
