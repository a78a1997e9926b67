package find

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// Kind is what a request asks for: the word in its path.
type Kind string

// The kinds of requests.
const (
	Base      Kind = "base" // /v2/ itself
	Manifests Kind = apipath.Manifests
	Blobs     Kind = apipath.Blobs
	Referrers Kind = apipath.Referrers
	Tags      Kind = apipath.Tags
)

// Request is a request of the pull API, read. Others come from [Read]. It names a
// repository, and a tag or a digest where its kind has one.
type Request struct {
	kind       Kind
	head       bool
	name       string // of a repository, as it was asked for
	repository auth.Repository
	tag        string
	digest     digest.Digest
	query      url.Values
	header     http.Header
	caller     callers.Caller
	known      bool // what nothing is known of is not searched for
	here       bool // redirects are followed here, and not handed on
}

// Kind is what the request asks for; "" before that is known.
func (q Request) Kind() Kind { return q.kind }

// IsHead reports whether the headers alone are asked for.
func (q Request) IsHead() bool { return q.head }

// Tag is the tag that is asked for, and Digest the digest; one of them is "".
func (q Request) Tag() string { return q.tag }

// Digest is the digest that is asked for.
func (q Request) Digest() digest.Digest { return q.digest }

// Unsearched is the request without a search: what nothing is known of is not
// there.
func (q Request) Unsearched() Request {
	q.known = true
	return q
}

// Name is the name of a repository as the path has it.
func (q Request) Name() string { return q.name }

// Path is that of something in the request's repository, as the request has it.
func (q Request) Path(k Kind, reference string) string {
	return "/v2/" + q.name + "/" + string(k) + "/" + reference
}

// Query is the request's.
func (q Request) Query() url.Values { return q.query }

// Repository is the one that is asked; the zero value before [Request.Of].
func (q Request) Repository() auth.Repository { return q.repository }

// Of is the request to a repository on behalf of a caller.
func (q Request) Of(repository auth.Repository, caller callers.Caller) Request {
	q.repository, q.caller = repository, caller
	return q
}

// With is the request with another header and query.
func (q Request) With(header http.Header, query url.Values) Request {
	q.header, q.query = header, query
	return q
}

// tenant is whose request it is, and in which repository.
func (q Request) tenant() tenant { return tenant{q.repository, q.caller} }

// wantsAll reports whether all of the content is requested. containerd says so with
// a Range where it downloads a layer in parts. Manifests and indexes are not
// requested in parts.
func (q Request) wantsAll() bool {
	r := q.header.Get("Range")
	return q.kind != Blobs || r == "" || r == "bytes=0-"
}

// maxParameters is more than any client sends: ns, n, last, artifactType.
const maxParameters = 8

// Read reads a request's path and query, as far as they are about pulling. Errors
// are of type [Failure]; the request then says as much as is known.
func Read(r *http.Request) (Request, error) {
	q := Request{head: r.Method == http.MethodHead, header: r.Header}
	path := r.URL.Path
	if r.URL.EscapedPath() != path {
		return q, &Failure{http.StatusBadRequest, "NAME_INVALID", "the path is not one of the distribution spec"}
	}
	var err error
	if q.query, err = url.ParseQuery(r.URL.RawQuery); err != nil || len(q.query) > maxParameters {
		return q, &Failure{http.StatusBadRequest, "UNSUPPORTED", "the query cannot be read"}
	}
	if path == "/v2/" || path == "/v2" {
		q.kind = Base
		return q, nil
	}
	q.name, err = q.parsePath(path)
	return q, err
}

// parsePath reads a path of the distribution spec, section "Endpoints", as far
// as they are about pulling, and returns the repository's name, for
// [auth.ParseRepository] to judge. Nothing in it may be encoded.
func (q *Request) parsePath(path string) (repository string, err error) {
	e, ok := apipath.Parse(path)
	if !ok || e.Word == apipath.Uploads {
		return "", &Failure{http.StatusNotFound, "NAME_UNKNOWN", "the path is not one of the pull API"}
	}
	switch q.kind = Kind(e.Word); {
	case q.kind == Tags:
		return e.Name, nil
	case q.kind == Manifests && !strings.Contains(e.Reference, ":") && auth.IsTag(e.Reference):
		q.tag = e.Reference
		return e.Name, nil
	}
	switch q.digest, err = digest.Parse(e.Reference); {
	case err != nil && q.kind == Manifests && !strings.Contains(e.Reference, ":"):
		// No manifest can have such a name. The distribution spec's conformance program wants to hear that, as of any
		// other that is not there.
		return "", &Failure{http.StatusNotFound, unknownCodes[Manifests], fmt.Sprintf("%.80q is no tag, and nothing can be under it", e.Reference)}
	case err != nil:
		return "", &Failure{http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("%.80q is neither a digest nor a tag", e.Reference)}
	}
	return e.Name, nil
}
