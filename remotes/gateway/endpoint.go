package gateway

import (
	"net/http"
	"slices"
	"strings"

	"github.com/nestedoci/nested/remotes/transport/find"
)

// endpoint is a path of the distribution spec, section "Endpoints".
type endpoint struct {
	name      string // of a repository, for [auth.ParseRepository] to judge
	word      string // what follows it: "blobs/uploads", "manifests", …
	reference string // the rest
}

// String is the path as the spec writes it.
func (p endpoint) String() string { return "/v2/" + p.name + "/" + p.word + "/" + p.reference }

// methods are those that the distribution spec has for what a path is about.
var methods = map[string][]string{
	"blobs":         {http.MethodGet, http.MethodHead, http.MethodDelete},
	"blobs/uploads": {http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete},
	"manifests":     {http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete},
	"referrers":     {http.MethodGet},
	"tags":          {http.MethodGet},
}

// readPath reads a request's path. Errors are of type [find.Failure].
func readPath(r *http.Request) (endpoint, error) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if strings.HasSuffix(rest, "/blobs/uploads") {
		rest += "/" // some leave it out
	}
	rest, reference := cutLast(rest)
	name, word := cutLast(rest)
	if word == "uploads" && strings.HasSuffix(name, "/blobs") {
		name, word = strings.TrimSuffix(name, "/blobs"), "blobs/uploads"
	}
	allowed, known := methods[word]
	switch {
	case !ok, !known, name == "", r.URL.EscapedPath() != r.URL.Path, r.URL.Host != "", word == "tags" && reference != "list":
		return endpoint{}, &find.Failure{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: "the path is not one of the distribution spec"}
	case !slices.Contains(allowed, r.Method):
		return endpoint{}, &find.Failure{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "the distribution spec has no such request"}
	}
	return endpoint{name, word, reference}, nil
}

// cutLast cuts a path at its last slash.
func cutLast(path string) (before, after string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// kindOf is what a request is about, for counting.
func kindOf(r *http.Request) find.Kind {
	q, err := readPath(r)
	switch {
	case r.URL.Path == "/v2/":
		return find.Base
	case err != nil:
		return ""
	case q.word == "blobs/uploads":
		return find.Blobs
	}
	return find.Kind(q.word)
}
