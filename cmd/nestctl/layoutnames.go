package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layoutPlace is where OCI layouts and archives are, as --to and copy name
// them: oci-layout:DIR or oci-archive:FILE, and for copy a name or a digest.
type layoutPlace struct {
	archive   bool
	path      string
	reference string // name or digest, may be empty
}

// parseLayout reads the name of a layout; it is none when it begins otherwise.
// What stands after DIR may have colons and slashes itself: names of images do.
// So a path that exists counts, the usual one before the shortest.
func parseLayout(s string) (layoutPlace, bool) {
	rest, layout := strings.CutPrefix(s, "oci-layout:")
	if !layout {
		var archive bool
		if rest, archive = strings.CutPrefix(s, "oci-archive:"); !archive {
			return layoutPlace{}, false
		}
	}
	usual := layoutPlace{archive: !layout, path: rest}
	if path, d, ok := strings.Cut(rest, "@"); ok && digest.Digest(d).Validate() == nil {
		usual.path, usual.reference = path, d
	} else if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		usual.path, usual.reference = rest[:i], rest[i+1:]
	}
	if usual.exists() {
		return usual, usual.path != ""
	}
	for i, c := range rest {
		if p := (layoutPlace{!layout, rest[:i], strings.TrimPrefix(rest[i:], string(c))}); (c == ':' || c == '@') && p.exists() {
			return p, true
		}
	}
	if whole := (layoutPlace{archive: !layout, path: rest}); whole.exists() {
		return whole, true
	}
	return usual, usual.path != ""
}

func (p layoutPlace) exists() bool {
	if p.path == "" {
		return false
	}
	if p.archive && p.path == "-" {
		return true
	}
	info, err := os.Stat(p.path)
	return err == nil && info.IsDir() != p.archive
}

// layoutRepository is the repository of a layout that does not say where its
// content is from; it exists nowhere, and is not shown or written.
const layoutRepository = "oci-layout.invalid/root"

// namesOf are the names that an entry of index.json has: the one that all tools
// go by, which may be a tag, a version or an image's name, and containerd's.
func namesOf(d ocispec.Descriptor) []string {
	var names []string
	for _, key := range []string{ocispec.AnnotationRefName, images.AnnotationImageName} {
		if name := d.Annotations[key]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// imageName is a name, if it is an image's. A tag alone is none.
func imageName(name string) (auth.Reference, bool) {
	_, isLayout := parseLayout(name)
	if isLayout || !strings.ContainsAny(name, ":/@") {
		return auth.Reference{}, false
	}
	ref, err := auth.ParseReference(name)
	return ref, err == nil
}

// namings are the ways in which an entry may have been named, the more exact ones
// first.
var namings = []func(d ocispec.Descriptor, reference string) bool{
	func(d ocispec.Descriptor, reference string) bool {
		return d.Annotations[ocispec.AnnotationRefName] == reference
	},
	func(d ocispec.Descriptor, reference string) bool {
		return d.Digest.String() == reference || slices.Contains(namesOf(d), reference)
	},
	func(d ocispec.Descriptor, reference string) bool { // nginx:1.27 for docker.io/library/nginx:1.27
		ref, ok := imageName(reference)
		return ok && slices.ContainsFunc(namesOf(d), func(name string) bool {
			other, err := auth.ParseReference(name)
			return err == nil && other == ref
		})
	},
	func(d ocispec.Descriptor, reference string) bool {
		return slices.ContainsFunc(namesOf(d), func(name string) bool {
			ref, ok := imageName(name)
			return ok && reference != "" && ref.Tag() == reference
		})
	},
}

// root is the entry of index.json that was named, or the only one.
func (l *layoutSource) root() (ocispec.Descriptor, error) {
	entry, err := l.entry()
	return bundle.Bare(entry), err
}

// entry is root with what index.json says of it.
func (l *layoutSource) entry() (ocispec.Descriptor, error) {
	if l.reference == "" {
		return l.only()
	}
	for _, fit := range namings {
		found := l.entries(func(d ocispec.Descriptor) bool { return fit(d, l.reference) })
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return ocispec.Descriptor{}, usage.Errorf("%s: %s is the name of several images; name one by digest or by its whole name: %s", l.path, l.reference, listed(found))
		}
	}
	if d := digest.Digest(l.reference); d.Validate() == nil {
		return l.byDigest(d)
	}
	return ocispec.Descriptor{}, fmt.Errorf("%s: no %s in index.json, which has %s: %w", l.path, l.reference, listed(l.index.Manifests), errdefs.ErrNotFound)
}

// only is the only entry that other tools see as an image, or the only one.
func (l *layoutSource) only() (ocispec.Descriptor, error) {
	found := l.entries(func(d ocispec.Descriptor) bool { return d.Annotations[ocispec.AnnotationRefName] != "" })
	if len(found) == 0 {
		found = l.entries(func(ocispec.Descriptor) bool { return true })
	}
	switch len(found) {
	case 0:
		return ocispec.Descriptor{}, fmt.Errorf("%s: no image in index.json: %w", l.path, errdefs.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return ocispec.Descriptor{}, usage.Errorf("%s holds several images; name one by its name or digest: %s", l.path, listed(found))
}

// entries are those of index.json that fit, one for each digest.
func (l *layoutSource) entries(fit func(ocispec.Descriptor) bool) []ocispec.Descriptor {
	var found []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range l.index.Manifests {
		if !seen[d.Digest] && fit(d) {
			found, seen[d.Digest] = append(found, d), true
		}
	}
	return found
}

// listed names entries for an error: by their names, which may be the same, and
// their digests.
func listed(entries []ocispec.Descriptor) string {
	const shown = 20
	names := []string{}
	for _, d := range entries {
		if len(names) == shown {
			names = append(names, fmt.Sprintf("and %d more", len(entries)-shown))
			break
		}
		name := "@" + d.Digest.String()
		if own := namesOf(d); len(own) > 0 {
			name = fmt.Sprintf("%.255s (%s)", own[0], oci.Short(d.Digest))
		}
		names = append(names, name)
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

// repository is the repository that the chosen content came from.
func (l *layoutSource) repository() string {
	entry, err := l.entry()
	if err != nil {
		return layoutRepository
	}
	names := namesOf(entry)
	slices.Reverse(names) // containerd's is whole
	for _, name := range names {
		if ref, ok := imageName(name); ok {
			return ref.Repository().String()
		}
	}
	return layoutRepository
}

// tag is the tag of what was chosen, if its name is one or has one: versions
// with a +, say, are names in layouts and no tags.
func (l *layoutSource) tag() string {
	if digest.Digest(l.reference).Validate() == nil {
		return ""
	}
	entry, err := l.entry()
	if err != nil {
		return ""
	}
	for _, name := range append([]string{l.reference}, namesOf(entry)...) {
		if ref, ok := imageName(name); ok {
			name = ref.Tag()
		}
		if validTag.MatchString(name) {
			return name
		}
	}
	return ""
}
