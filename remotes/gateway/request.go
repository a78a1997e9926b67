package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
)

// kind is what a request asks for: the word in its path.
type kind string

const (
	base      kind = "base" // /v2/ itself
	manifests kind = "manifests"
	blobs     kind = "blobs"
	referrers kind = "referrers"
	tags      kind = "tags"
)

// request is a request of the pull API, read. It names a repository of a
// registry that is served, and a tag or a digest where its kind has one.
type request struct {
	kind       kind
	head       bool
	repository auth.Repository
	tag        string
	digest     digest.Digest
	query      url.Values
	header     http.Header
	caller     caller
}

// right is whose request it is, and in which repository.
func (q request) right() right { return right{q.repository, q.caller} }

// whole reports whether all of the content is asked for. containerd says so with
// a Range where it downloads a layer in parts. Documents are not asked for in
// parts.
func (q request) whole() bool {
	r := q.header.Get("Range")
	return q.kind != blobs || r == "" || r == "bytes=0-"
}

// namespace tells the client that its ns was minded: the distribution spec's
// section "Registry Proxying".
func (q request) namespace(header http.Header) {
	if q.repository != (auth.Repository{}) {
		header.Set("OCI-Namespace", q.repository.Host())
	}
}

var tagPattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// maxParameters is more than any client sends: ns, n, last, artifactType.
const maxParameters = 8

// parse reads a request. Errors are of type [failure].
func (g *Gateway) parse(r *http.Request) (request, error) {
	q := request{head: r.Method == http.MethodHead, header: r.Header, caller: g.caller(r)}
	if !q.head && r.Method != http.MethodGet {
		return q, &failure{http.StatusMethodNotAllowed, "UNSUPPORTED", "the gateway only pulls"}
	}
	path := r.URL.Path
	if r.URL.EscapedPath() != path || r.URL.Host != "" {
		return q, &failure{http.StatusBadRequest, "NAME_INVALID", "the path is not one of the distribution spec"}
	}
	var err error
	if q.query, err = url.ParseQuery(r.URL.RawQuery); err != nil || len(q.query) > maxParameters {
		return q, &failure{http.StatusBadRequest, "UNSUPPORTED", "the query cannot be read"}
	}
	if path == "/v2/" || path == "/v2" {
		q.kind = base
		return q, nil
	}
	repository, err := q.parsePath(path)
	if err != nil {
		return q, err
	}
	q.repository, err = g.served(q.query["ns"], repository)
	return q, err
}

// parsePath reads a path of the distribution spec, section "Endpoints", as far
// as they are about pulling, and returns the repository's name, for
// [auth.ParseRepository] to judge. Nothing in it may be encoded.
func (q *request) parsePath(path string) (repository string, err error) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	rest, reference := cutLast(rest)
	repository, word := cutLast(rest)
	q.kind = kind(word)
	switch {
	case !ok, repository == "", q.kind != manifests && q.kind != blobs && q.kind != referrers && q.kind != tags, q.kind == tags && reference != "list":
		q.kind = ""
		return "", &failure{http.StatusNotFound, "NAME_UNKNOWN", "the path is not one of the pull API"}
	case q.kind == tags:
		return repository, nil
	case q.kind == manifests && tagPattern.MatchString(reference):
		q.tag = reference
		return repository, nil
	}
	switch q.digest, err = digest.Parse(reference); {
	case err != nil && q.kind == manifests && !strings.Contains(reference, ":"):
		// No manifest can have such a name. The distribution spec's conformance program wants to hear that, as of any
		// other that is not there.
		return "", &failure{http.StatusNotFound, unknownCodes[manifests], fmt.Sprintf("%.80q is no tag, and nothing can be under it", reference)}
	case err != nil:
		return "", &failure{http.StatusBadRequest, "DIGEST_INVALID", fmt.Sprintf("%.80q is neither a digest nor a tag", reference)}
	}
	return repository, nil
}

// cutLast cuts a path at its last slash.
func cutLast(path string) (before, after string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// served returns the repository on the registry that ns names, if the gateway
// serves it.
func (g *Gateway) served(ns []string, name string) (auth.Repository, error) {
	if len(ns) != 1 {
		return auth.Repository{}, &failure{http.StatusBadRequest, "NAME_INVALID", "the query has to name the registry once, as ns; containerd does so for a host of hosts.toml"}
	}
	if !g.registries[ns[0]] {
		return auth.Repository{}, &failure{http.StatusNotFound, "NAME_UNKNOWN", fmt.Sprintf("registry %.80q is not among the gateway's registries", ns[0])}
	}
	repository, err := auth.ParseRepository(ns[0] + "/" + name)
	if err != nil {
		return auth.Repository{}, &failure{http.StatusBadRequest, "NAME_INVALID", err.Error()}
	}
	if !g.allowed(repository) {
		return auth.Repository{}, &failure{http.StatusForbidden, "DENIED", fmt.Sprintf("repository %s is not allowed; see allow in the gateway's configuration", repository)}
	}
	return repository, nil
}

func (g *Gateway) allowed(repository auth.Repository) bool {
	for _, p := range g.options.Allow {
		if p.Match(repository) {
			return true
		}
	}
	return len(g.options.Allow) == 0
}
