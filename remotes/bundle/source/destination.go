package source

import (
	"cmp"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
)

// Destination is where sources are copied to.
type Destination struct {
	Name     string // as it was written; for several sources in a registry, a prefix
	IsLayout bool
	Place    layout.Place    // of a layout
	Parent   auth.Repository // of a registry
	Tag      string          // "" for the source's
	several  bool
}

// ParseDestination reads what a user names as the destination of one source, or
// of several, which keep their names there. Errors are usage.Error.
func ParseDestination(name string, several bool) (to Destination, err error) {
	to.Name, to.several = name, several
	if to.Place, to.IsLayout = layout.ParsePlace(name); to.IsLayout {
		return to, to.checkPlace()
	}
	if several {
		return to, nil
	}
	ref, tag, err := auth.ParseWritten(name)
	if err != nil {
		return to, usage.Error{Err: err}
	}
	to.Parent, to.Tag = ref.Repository(), tag
	if ref.Digest() != "" {
		err = digestGiven(name)
	}
	return to, err
}

func digestGiven(name string) error {
	return usage.Errorf("%s: the digest of a copy is that of its source; name a tag, or none", name)
}

func (d Destination) checkPlace() error {
	switch name := d.Place.Reference; {
	case name == "":
	case d.several:
		return usage.Errorf("%s: several sources keep their names; name no image", d.Name)
	case digest.Digest(name).Validate() == nil:
		return digestGiven(d.Place.Path)
	default:
		return bundle.CheckTag(d.Place.Path, name)
	}
	return nil
}

// Copying is the copy of each source to a registry.
func (d Destination) Copying(all []*Source, o bundle.CopyOptions) (copies []bundle.Copying, err error) {
	for _, from := range all {
		c := bundle.Copying{Bundle: from.Bundle, Parent: d.Parent, Tag: cmp.Or(d.Tag, from.Tag), CopyOptions: o}
		c.From = from.Registries
		if d.several {
			if c.Parent, err = from.Below(d.Name); err != nil {
				return nil, err
			}
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// Pulling is the copy of each source into a layout.
func (d Destination) Pulling(all []*Source, o bundle.PullOptions) (pulls []bundle.Pulling) {
	for _, from := range all {
		p := bundle.Pulling{Bundle: from.Bundle, Name: from.Name(d.Place.Reference), PullOptions: o}
		p.From = from.Registries
		pulls = append(pulls, p)
	}
	return pulls
}
