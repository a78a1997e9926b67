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
	word      string // what follows it: "blobs/uploads", "manifests", …; of the root atRoot or aboutFront
	reference string // the rest
}

// Words of paths without a repository; no path has such a word.
const (
	atRoot     = "/"
	aboutFront = "/statement"
)

// String is the path as the spec writes it.
func (p endpoint) String() string { return "/v2/" + p.name + "/" + p.word + "/" + p.reference }

// methods are those that the distribution spec has for what a path is about.
var methods = map[string][]string{
	atRoot:          {http.MethodGet, http.MethodHead},
	aboutFront:      {http.MethodGet, http.MethodHead},
	"blobs":         {http.MethodGet, http.MethodHead, http.MethodDelete},
	"blobs/uploads": {http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete},
	"manifests":     {http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete},
	"referrers":     {http.MethodGet},
	"tags":          {http.MethodGet},
}

// readPath reads a request's path. Errors are of type [find.Failure].
func readPath(r *http.Request) (endpoint, error) {
	p, ok := cutPath(r.URL.Path)
	allowed, known := methods[p.word]
	switch {
	case !ok, !known, r.URL.EscapedPath() != r.URL.Path, r.URL.Host != "":
		return endpoint{}, &find.Failure{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: "the path is not one of the distribution spec"}
	case !slices.Contains(allowed, r.Method):
		return endpoint{}, &find.Failure{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "the distribution spec has no such request"}
	case p.name == "", p.word == "blobs/uploads":
		return p, nil
	}
	_, err := find.Read(r) // what the registry gets is a tag or a digest
	return p, err
}

// cutPath cuts a path of the API into its parts.
func cutPath(path string) (p endpoint, ok bool) {
	switch path {
	case "/v2", "/v2/":
		return endpoint{word: atRoot}, true
	case statementPath:
		return endpoint{word: aboutFront}, true
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if strings.HasSuffix(rest, "/blobs/uploads") {
		rest += "/" // some leave it out
	}
	rest, p.reference = cutLast(rest)
	p.name, p.word = cutLast(rest)
	if p.word == "uploads" && strings.HasSuffix(p.name, "/blobs") {
		p.name, p.word = strings.TrimSuffix(p.name, "/blobs"), "blobs/uploads"
	}
	return p, ok && p.name != ""
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
	case err != nil, q.word == aboutFront:
		return ""
	case q.word == atRoot:
		return find.Base
	case q.word == "blobs/uploads":
		return find.Blobs
	}
	return find.Kind(q.word)
}
