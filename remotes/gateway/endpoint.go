package gateway

import (
	"net/http"
	"slices"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// Words of paths without a repository, in [apipath.Path]; no path has such a word.
const (
	atRoot     = "/"
	aboutFront = "/statement"
)

// methods are those that the distribution spec has for what a path is about.
var methods = map[string][]string{
	atRoot:            {http.MethodGet, http.MethodHead},
	aboutFront:        {http.MethodGet, http.MethodHead},
	apipath.Blobs:     {http.MethodGet, http.MethodHead, http.MethodDelete},
	apipath.Uploads:   {http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete},
	apipath.Manifests: {http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete},
	apipath.Referrers: {http.MethodGet},
	apipath.Tags:      {http.MethodGet},
}

// readPath reads a request's path, and what is asked about content. Errors are of
// type [find.Failure].
func readPath(r *http.Request) (p apipath.Path, q find.Request, err error) {
	p, ok := parsePath(r.URL.Path)
	switch {
	case !ok, r.URL.EscapedPath() != r.URL.Path, r.URL.Host != "":
		return apipath.Path{}, q, &find.Failure{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: "the path is not one of the distribution spec"}
	case !slices.Contains(methods[p.Word], r.Method):
		return apipath.Path{}, q, &find.Failure{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "the distribution spec has no such request"}
	case p.Name == "", p.Word == apipath.Uploads:
		return p, q, nil
	}
	q, err = find.Read(r) // what the registry gets is a tag or a digest
	return p, q, err
}

func parsePath(path string) (apipath.Path, bool) {
	switch path {
	case "/v2", "/v2/":
		return apipath.Path{Word: atRoot}, true
	case statementPath:
		return apipath.Path{Word: aboutFront}, true
	}
	return apipath.Parse(path)
}

// kindOf is what a request is about, for counting.
func kindOf(r *http.Request) find.Kind {
	q, ok := parsePath(r.URL.Path) // what is wrong with it was found before
	switch {
	case !ok, q.Word == aboutFront:
		return ""
	case q.Word == atRoot:
		return find.Base
	case q.Word == apipath.Uploads:
		return find.Blobs
	}
	return find.Kind(q.Word)
}
