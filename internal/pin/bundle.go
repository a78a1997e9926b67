package pin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// What avoids errors, each a [usage.Avoidable].
const (
	ByPlatform       usage.Choice = "platform"
	ByAllowUnmatched usage.Choice = "allowUnmatched"
	ByFormat         usage.Choice = "format" // another one, or fewer members
)

// Member is an image or artifact of a bundle.
type Member struct {
	Namespace  string          // path from the bundle's repository, such as "tools/cli"
	Target     auth.Repository // the repository of that path, which manifests name
	Repository auth.Repository // the one that has the content, which may be above the target
	Digest     digest.Digest
	Origins    []Origin // where it was copied from, as the index says
}

// Ref is the reference that pins the member, repository@digest.
func (m Member) Ref() string { return m.Repository.String() + "@" + m.Digest.String() }

// Bundle says what the images of a bundle are replaced by.
type Bundle struct {
	Ref        string // as the user gave it, for errors
	Tag        string // the tag in Ref, or its default; an image with it is the bundle itself. "" for none
	Repository auth.Repository
	Digest     digest.Digest // what the tag names: an index, a manifest, or the carrier of an index
	Members    []Member
	// Unselected are members that were left out, for errors: the path, and after
	// a space the platform, where there is one.
	Unselected []string
}

// own is the bundle's image as manifests name it: by the tag; "" without one.
func (b Bundle) own() string {
	if b.Tag == "" {
		return ""
	}
	return b.Repository.String() + ":" + b.Tag
}

// root is the reference that pins the bundle itself.
func (b Bundle) root() string { return b.Repository.String() + "@" + b.Digest.String() }

// above reports whether a repository's name is below the bundle's. The name
// need not be valid.
func (b Bundle) above(name string) bool {
	full := b.Repository.String() + "/"
	return strings.HasPrefix(name, full) || strings.HasPrefix(name, strings.TrimPrefix(full, "docker.io/"))
}

// members lists the members for an error.
func (b Bundle) members() string {
	var names []string
	for _, m := range b.Members {
		names = append(names, m.Namespace)
	}
	others := slices.DeleteFunc(slices.Clone(b.Unselected), func(other string) bool {
		path, _, _ := strings.Cut(other, " ")
		return slices.Contains(names, path)
	})
	slices.Sort(others)
	if len(names) == 0 {
		names = []string{"none"}
	}
	list := strings.Join(slices.Compact(names), ", ")
	if len(others) > 0 {
		list += fmt.Sprintf(" (not selected: %s)", strings.Join(slices.Compact(others), ", "))
	}
	return list
}

// Pinner pins the images of bundles. It may be used by several goroutines at
// once.
type Pinner struct {
	bundles        []Bundle
	refs           map[string][]string // by repository for members, by repository:tag for bundles
	copies         map[string][]copied // by the repository of their origin
	allowUnmatched bool
}

// NewPinner returns a Pinner for the images of bundles. With allowUnmatched,
// images below a bundle's repository that are not members do not change.
func NewPinner(bundles []Bundle, allowUnmatched bool) *Pinner {
	p := &Pinner{bundles, map[string][]string{}, map[string][]copied{}, allowUnmatched}
	for _, b := range bundles {
		if own := b.own(); own != "" {
			p.refs[own] = append(p.refs[own], b.root())
		}
		for _, m := range b.Members {
			target := m.Target.String()
			p.refs[target] = append(p.refs[target], m.Ref())
			for _, o := range m.Origins {
				from := o.Repository.String()
				p.copies[from] = append(p.copies[from], copied{o, m, b.Ref})
			}
		}
	}
	return p
}

// Pin returns the pinned reference for an image, as [Write] needs it; "" for an
// image that belongs to no bundle. The tag of a member's image does not matter,
// because the bundle says which one it is. The bundle's own image with another
// tag is another image. An image elsewhere becomes the member that was copied
// from there, by tag or by digest (origin.go). Other images with a digest do not
// change.
//
// It is an error when an image is ambiguous, and of class errdefs.ErrNotFound
// when it is below a bundle's repository without being a member, or when the
// bundles have copies from its repository, but not of its tag.
func (p *Pinner) Pin(image string) (string, error) {
	image = strings.TrimSpace(image)
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", p.unmatched(image, image, err)
	}
	w := wanted{image: image, repository: named.Name()}
	if digested, ok := named.(reference.Digested); ok {
		w.digest = digested.Digest()
	} else {
		w.tag = reference.TagNameOnly(named).(reference.Tagged).Tag()
	}
	return p.find(w)
}

// wanted is what an image says.
type wanted struct {
	image      string // as it is written, for errors
	repository string // in full
	tag        string // "" when there is a digest, or when nobody says it
	digest     digest.Digest
}

// find returns the pinned reference, as Pin does.
func (p *Pinner) find(w wanted) (string, error) {
	if !p.inside(w.repository) {
		return p.findCopy(w)
	}
	if w.digest != "" {
		return "", nil
	}
	refs := slices.Concat(p.refs[w.repository], p.refs[w.repository+":"+w.tag])
	slices.Sort(refs)
	switch refs = slices.Compact(refs); len(refs) {
	case 0:
		return "", p.unmatched(w.image, w.repository, nil)
	case 1:
		return refs[0], nil
	}
	return "", ambiguous(w, refs)
}

func ambiguous(w wanted, refs []string) error {
	return &usage.Avoidable{Err: fmt.Errorf("image %s: may be %s", w.image, strings.Join(refs, " or ")), By: ByPlatform}
}

// inside reports whether a repository is a bundle's own, or below one: there,
// what a bundle says about origins counts for nothing.
func (p *Pinner) inside(repository string) bool {
	return slices.ContainsFunc(p.bundles, func(b Bundle) bool {
		return repository == b.Repository.String() || b.above(repository)
	})
}

// unmatched is the error for an image below a bundle's repository that would
// stay unpinned. invalid, when given, says why it is not a reference.
func (p *Pinner) unmatched(image, repository string, invalid error) error {
	if p.allowUnmatched {
		return nil
	}
	for _, b := range p.bundles {
		if !b.above(repository) {
			continue
		}
		reason := "not a member of " + b.Ref + ", which has " + b.members()
		if invalid != nil {
			reason = invalid.Error()
		}
		return &usage.Avoidable{Err: auth.Classed(errdefs.ErrNotFound, "image %.300s: %s", image, reason), By: ByAllowUnmatched}
	}
	return nil
}
