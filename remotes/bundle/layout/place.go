package layout

import (
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Place is where OCI layouts and archives are, as --to and copy name
// them: oci-layout:DIR or oci-archive:FILE, and for copy a name or a digest.
type Place struct {
	Archive   bool
	Path      string // "-" is standard input, for an archive that is read
	Reference string // name or digest, may be empty
}

// ParsePlace reads the name of a layout; it is none when it begins otherwise.
// What stands after DIR may have colons and slashes itself: names of images do.
// So a path that exists counts, the usual one before the shortest.
func ParsePlace(s string) (Place, bool) {
	rest, layout := strings.CutPrefix(s, "oci-layout:")
	if !layout {
		var archive bool
		if rest, archive = strings.CutPrefix(s, "oci-archive:"); !archive {
			return Place{}, false
		}
	}
	usual := Place{Archive: !layout, Path: rest}
	if path, d, ok := strings.Cut(rest, "@"); ok && digest.Digest(d).Validate() == nil {
		usual.Path, usual.Reference = path, d
	} else if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		usual.Path, usual.Reference = rest[:i], rest[i+1:]
	}
	if usual.exists() {
		return usual, usual.Path != ""
	}
	for i, c := range rest {
		if p := (Place{!layout, rest[:i], strings.TrimPrefix(rest[i:], string(c))}); (c == ':' || c == '@') && p.exists() {
			return p, true
		}
	}
	if whole := (Place{Archive: !layout, Path: rest}); whole.exists() {
		return whole, true
	}
	return usual, usual.Path != ""
}

func (p Place) exists() bool {
	if p.Path == "" {
		return false
	}
	if p.Archive && p.Path == "-" {
		return true
	}
	info, err := os.Stat(p.Path)
	return err == nil && info.IsDir() != p.Archive
}

// Nowhere is the repository of a layout that does not say where its
// content is from; it exists nowhere, and is not shown or written.
const Nowhere = "oci-layout.invalid/root"
