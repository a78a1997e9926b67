package layout

import (
	"os"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Place is the name of an OCI layout or archive on the command line:
// oci-layout:DIR or oci-archive:FILE, and for copy a name or a digest after
// that.
type Place struct {
	Archive   bool
	Path      string // "-" is standard input, for reading an archive
	Reference string // name or digest; may be empty
	PartSize  int64  // bytes of the parts into which an archive is written; 0 for one file
}

// ParsePlace reads the name of a layout; false when the string has no prefix of
// one. What follows DIR may contain colons and slashes itself, as names of
// images do. So a path that exists is preferred, the usual split before the
// shortest path. An archive in parts is called what they are called after.
func ParsePlace(s string) (Place, bool) {
	p, ok := parsePlace(runtime.GOOS, s)
	if p.InParts() {
		p.Path, _ = partsOf(p.Path)
	}
	return p, ok
}

// InParts reports whether an archive is there in parts.
func (p Place) InParts() bool {
	_, inParts := partsOf(p.Path)
	return p.Archive && p.Path != "-" && inParts
}

func parsePlace(goos, s string) (Place, bool) {
	rest, layout := strings.CutPrefix(s, "oci-layout:")
	if !layout {
		var archive bool
		if rest, archive = strings.CutPrefix(s, "oci-archive:"); !archive {
			return Place{}, false
		}
	}
	volume, separators := volumeOf(goos, rest)
	usual := Place{Archive: !layout, Path: rest}
	if path, d, ok := strings.Cut(rest, "@"); ok && digest.Digest(d).Validate() == nil {
		usual.Path, usual.Reference = path, d
	} else if i := strings.LastIndexByte(rest, ':'); i >= len(volume) && i > strings.LastIndexAny(rest, separators) {
		usual.Path, usual.Reference = rest[:i], rest[i+1:]
	}
	if usual.exists() {
		return usual, usual.Path != ""
	}
	for i, c := range rest {
		if p := (Place{Archive: !layout, Path: rest[:i], Reference: strings.TrimPrefix(rest[i:], string(c))}); i >= len(volume) && (c == ':' || c == '@') && p.exists() {
			return p, true
		}
	}
	if complete := (Place{Archive: !layout, Path: rest}); complete.exists() {
		return complete, true
	}
	return usual, usual.Path != ""
}

// volumeOf returns the volume in front of a path, with its colon (C:), and what separates the names in it. Only Windows
// has volumes, and no name of a directory there is one letter long and has a colon behind it.
func volumeOf(goos, path string) (volume, separators string) {
	if goos != "windows" {
		return "", "/"
	}
	if len(path) > 1 && path[1] == ':' && 'a' <= path[0]|0x20 && path[0]|0x20 <= 'z' {
		volume = path[:2]
	}
	return volume, `/\`
}

// PlaceOf is the place at a path: a layout if it is a directory.
func PlaceOf(path string) Place {
	info, err := os.Stat(path)
	return Place{Archive: err != nil || !info.IsDir(), Path: path}
}

// Same reports whether two places are the same, and are there.
func (p Place) Same(q Place) bool {
	a, err := os.Stat(p.file())
	b, other := os.Stat(q.file())
	return err == nil && other == nil && os.SameFile(a, b)
}

// file is the file or directory, or that of the checksums of parts.
func (p Place) file() string {
	if p.InParts() {
		base, _ := partsOf(p.Path)
		return base + sumsSuffix
	}
	return p.Path
}

func (p Place) exists() bool {
	if p.Path == "" {
		return false
	}
	if p.Archive && p.Path == "-" {
		return true
	}
	if p.InParts() {
		return true
	}
	info, err := os.Stat(p.Path)
	return err == nil && info.IsDir() != p.Archive
}

// Nowhere is the repository of a layout that does not say where its content is
// from. It does not exist, and is never shown or written.
const Nowhere = "oci-layout.invalid/root"

// isNowhere reports whether a repository is [Nowhere], or one below it.
func isNowhere(repository string) bool {
	return repository == Nowhere || strings.HasPrefix(repository, Nowhere+"/")
}
