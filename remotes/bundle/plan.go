package bundle

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// Planned is content and its destination.
type Planned struct {
	Repository auth.Repository
	ocispec.Descriptor
}

// Plan says what [Copy] would copy where, and copies nothing. Content that
// reaches one repository by several paths is listed once for each.
func Plan(ctx context.Context, b *Bundle, parent auth.Repository, o CopyOptions) ([]Planned, error) {
	p := newTransfer(b, nil, parent, o)
	o.Blobs, o.Attached, o.OmitNonDistributable = true, true, true
	walked, err := b.Walk(ctx, o.Options, Visitor{Home: p.home})
	if err != nil {
		return nil, err
	}
	var planned []Planned
	for _, n := range walked.Root.AllWithReferrers() {
		if n.Missing {
			continue
		}
		to, err := p.destination(ctx, n)
		if err != nil {
			return nil, err
		}
		planned = append(planned, Planned{to, n.Descriptor})
	}
	return planned, nil
}
