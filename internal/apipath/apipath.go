// Package apipath reads the paths of the distribution spec (section
// "Endpoints"): one reader for all that make, pass on and serve requests.
package apipath

import (
	"slices"
	"strings"
)

// The words in the paths.
const (
	Manifests = "manifests"
	Blobs     = "blobs"
	Uploads   = "blobs/uploads"
	Referrers = "referrers"
	Tags      = "tags"
)

// words are those before a reference of any kind.
var words = []string{Manifests, Blobs, Uploads, Referrers}

// Path is /v2/<name>/<word>/<reference>, taken apart.
type Path struct {
	Name      string // of a repository, not validated
	Word      string // one of the constants
	Reference string // the rest, not validated; empty for a new upload
}

// Parse reads the decoded path of a URL. It returns false when it is none of the
// spec's, or that of no repository, as /v2/ is.
func Parse(path string) (Path, bool) {
	rest, isAPI := strings.CutPrefix(path, "/v2/")
	if strings.HasSuffix(rest, "/"+Uploads) {
		rest += "/" // some leave it out
	}
	rest, reference := cutLast(rest)
	name, isUpload := strings.CutSuffix(rest, "/"+Uploads)
	word := Uploads
	if !isUpload {
		name, word = cutLast(rest)
	}
	known := word == Tags && reference == "list" || slices.Contains(words, word)
	if !isAPI || !known || name == "" {
		return Path{}, false
	}
	return Path{name, word, reference}, true
}

// ParseBelow is Parse for a path that may be below another one, where a proxy or
// a registry has its API.
func ParseBelow(path string) (Path, bool) {
	i := strings.Index(path, "/v2/")
	if i < 0 {
		return Path{}, false
	}
	return Parse(path[i:])
}

// String is the path as the spec writes it.
func (e Path) String() string { return "/v2/" + e.Name + "/" + e.Word + "/" + e.Reference }

// cutLast cuts a path at its last slash.
func cutLast(path string) (before, after string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}
