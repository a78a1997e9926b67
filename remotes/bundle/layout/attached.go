package layout

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// nameAttached adds what a tag attaches to a part of a bundle, under that tag,
// as other tools do. Two repositories may have other signatures of one digest:
// the full name, which containerd uses, tells them apart.
func nameAttached(entries []ocispec.Descriptor, r *bundle.Node) []ocispec.Descriptor {
	repository := r.Repository.String()
	if isNowhere(repository) {
		repository = Nowhere
	}
	return nameIn(entries, bundle.Named{Name: repository + ":" + r.Tag, Target: bundle.Bare(r.Descriptor)}, false)
}

// attachment is an entry of index.json that a tag attaches to other content.
type attachment struct {
	entry ocispec.Descriptor // with the tag as its name
	at    auth.Repository    // of the tag, if the layout names one
}

// attachmentOf reads an entry; one without a tag is an image.
func attachmentOf(d ocispec.Descriptor) (a attachment, tag string) {
	for _, name := range namesOf(d) {
		if ref, ok := imageName(name); ok && oci.IsAttachedTag(ref.Tag()) {
			tag, a.at = ref.Tag(), ref.Repository()
		} else if oci.IsAttachedTag(name) {
			tag = name
		}
	}
	a.entry = bundle.Bare(d)
	a.entry.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	return a, tag
}

func isAttached(d ocispec.Descriptor) bool {
	_, tag := attachmentOf(d)
	return tag != ""
}

// readAttached reads what index.json attaches to other content, by tag.
func (l *Source) readAttached() map[string][]attachment {
	all := map[string][]attachment{}
	for _, d := range l.index.Manifests {
		if a, tag := attachmentOf(d); tag != "" {
			all[tag] = append(all[tag], a)
		}
	}
	return all
}

// ListAttached returns what tags attach to content: in the repository that asks,
// or in one that the layout does not name.
func (f fetcherOf) ListAttached(_ context.Context, d digest.Digest) (attached []ocispec.Descriptor, err error) {
	nowhere := isNowhere(f.at.String())
	for _, tag := range oci.AttachedTags(d) {
		all := f.attached()[tag]
		i := slices.IndexFunc(all, func(a attachment) bool { return nowhere || a.at == f.at || a.at == auth.Repository{} })
		if i >= 0 {
			attached = append(attached, all[i].entry)
		}
	}
	return attached, nil
}
