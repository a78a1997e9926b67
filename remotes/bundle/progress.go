package bundle

import (
	"github.com/nestedoci/nested/remotes/bundle/meter"
	"github.com/nestedoci/nested/remotes/nested"
)

// Progress is notified as a pull or a copy proceeds. Its methods are called by
// several goroutines at once.
type Progress interface {
	// Expand says that what a node lists is to be moved: its children and
	// referrers. The roots are children of nodes without a digest. What is found
	// missing lists nothing.
	Expand(*Node)
	// Begin says that content is being moved, and returns what counts its bytes;
	// nil for nothing.
	Begin(*Node) *meter.Counter
	// End says that content needs no more: it is there, or was left out.
	End(*Node)
	// Member says that a member is being copied, or has arrived.
	Member(*Node)
}

// shown is a progress, which may be nil.
func shown(p Progress) Progress {
	if p == nil {
		return silent{}
	}
	return p
}

// expect tells of a root. All are told before the first is moved, or the end of
// one would be taken for the end.
func (b *Bundle) expect(p Progress) {
	p.Expand(&Node{Children: []*Node{{Entry: nested.Entry{Descriptor: b.Root}, Repository: b.Repository}}})
}

// silent shows nothing.
type silent struct{}

func (silent) Expand(*Node) {}

func (silent) Begin(*Node) *meter.Counter { return nil }

func (silent) End(*Node) {}

func (silent) Member(*Node) {}
