package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// namesOf are the names of an entry of index.json: the one that all tools use,
// which may be a tag, a version or an image's name, and containerd's.
func namesOf(d ocispec.Descriptor) []string {
	var names []string
	for _, key := range []string{ocispec.AnnotationRefName, images.AnnotationImageName} {
		if name := d.Annotations[key]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// imageName reads a name as that of an image. A tag alone is not one.
func imageName(name string) (auth.Reference, bool) {
	_, isLayout := ParsePlace(name)
	if isLayout || !strings.ContainsAny(name, ":/@") {
		return auth.Reference{}, false
	}
	ref, err := auth.ParseReference(name)
	return ref, err == nil
}

// namings are the ways in which an entry may be named, the more exact ones
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

// root is the entry of index.json that the reference names, or the only one.
func (l *Source) root() (ocispec.Descriptor, error) {
	entry, err := l.entry()
	return bundle.Bare(entry), err
}

// entry is root with everything that index.json says about it.
func (l *Source) entry() (ocispec.Descriptor, error) {
	if l.Reference == "" {
		return l.only()
	}
	for _, fit := range namings {
		found := l.entries(func(d ocispec.Descriptor) bool { return fit(d, l.Reference) })
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return ocispec.Descriptor{}, usage.Errorf("%s: %s is the name of several images; name one by digest or by its full name: %s", l.Path, l.Reference, listed(found))
		}
	}
	if d := digest.Digest(l.Reference); d.Validate() == nil {
		return l.byDigest(d)
	}
	return ocispec.Descriptor{}, fmt.Errorf("%s: no %s in index.json, which has %s: %w", l.Path, l.Reference, listed(l.index.Manifests), errdefs.ErrNotFound)
}

// only is the only entry that other tools regard as an image, or the only
// entry.
func (l *Source) only() (ocispec.Descriptor, error) {
	found := l.entries(func(d ocispec.Descriptor) bool {
		return d.Annotations[ocispec.AnnotationRefName] != "" && !isAttached(d)
	})
	if len(found) == 0 {
		found = l.entries(func(d ocispec.Descriptor) bool { return !isAttached(d) })
	}
	switch len(found) {
	case 0:
		return ocispec.Descriptor{}, fmt.Errorf("%s: no image in index.json: %w", l.Path, errdefs.ErrNotFound)
	case 1:
		return found[0], nil
	}
	err := usage.Errorf("%s holds several images; name one by its name or digest: %s", l.Path, listed(found))
	return ocispec.Descriptor{}, &bundle.AvoidableError{Err: err, By: ByRoots}
}

// Roots returns the source for each image in it that other tools see: the
// entries of index.json with a name or, where none has one, all entries. They
// share what is open, which is closed with this source.
func (l *Source) Roots() ([]*Source, error) {
	var roots []*Source
	seen := map[string]bool{}
	add := func(reference string) {
		if root := *l; !seen[reference] {
			root.Reference, seen[reference] = reference, true
			roots = append(roots, &root)
		}
	}
	for _, d := range l.index.Manifests {
		if name := d.Annotations[ocispec.AnnotationRefName]; name != "" && !isAttached(d) {
			add(name)
		}
	}
	if len(roots) == 0 {
		for _, d := range l.entries(func(d ocispec.Descriptor) bool { return !isAttached(d) }) {
			add(d.Digest.String())
		}
	}
	if len(roots) == 0 {
		_, err := l.only() // which says so
		return nil, err
	}
	return roots, nil
}

// ByRoots says that an error would have been avoided by taking all images of a
// layout.
const ByRoots usage.Choice = "Source.Roots"

// entries are the matching ones of index.json, one for each digest.
func (l *Source) entries(fit func(ocispec.Descriptor) bool) []ocispec.Descriptor {
	var found []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range l.index.Manifests {
		if !seen[d.Digest] && fit(d) {
			found, seen[d.Digest] = append(found, d), true
		}
	}
	return found
}

// listed names entries in an error: by their names, which may be equal, and
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

// Repository returns the repository that the content came from, or [Nowhere]
// when the layout does not say.
func (l *Source) Repository() auth.Repository {
	entry, err := l.entry()
	names := namesOf(entry)
	slices.Reverse(names) // containerd's has the repository, too
	for _, name := range names {
		if ref, ok := imageName(name); ok && err == nil {
			return ref.Repository()
		}
	}
	nowhere, _ := auth.ParseRepository(Nowhere) // which is one
	return nowhere
}

// Tag returns the tag in the name of the content, if there is one: names such
// as versions with a + are not tags.
func (l *Source) Tag() string {
	if digest.Digest(l.Reference).Validate() == nil {
		return ""
	}
	entry, err := l.entry()
	if err != nil {
		return ""
	}
	for _, name := range append([]string{l.Reference}, namesOf(entry)...) {
		if ref, ok := imageName(name); ok {
			name = ref.Tag()
		}
		if auth.IsTag(name) {
			return name
		}
	}
	return ""
}

// listReferrers adds what refers to anything in a bundle to index.json, where
// it is found by its subject.
func listReferrers(entries []ocispec.Descriptor, root *bundle.Node) []ocispec.Descriptor {
	for _, n := range root.AllWithReferrers() {
		for _, r := range n.Referrers {
			if r.Tag != "" {
				entries = nameAttached(entries, r)
				continue
			}
			named := func(d ocispec.Descriptor) bool { return d.Digest == r.Digest }
			if !slices.ContainsFunc(entries, named) {
				entries = append(entries, bundle.Bare(r.Descriptor))
			}
		}
	}
	return entries
}
