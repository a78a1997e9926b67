package delta

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// Lacking collects what sources leave out and their destination does not have.
// It may be used by several goroutines at once.
type Lacking struct {
	mu       sync.Mutex
	contents map[digest.Digest]bool
	texts    map[string]bool
	sources  map[string]bool // by name
	earlier  map[string]bool
}

// NewLacking returns an empty one.
func NewLacking() *Lacking {
	return &Lacking{contents: map[digest.Digest]bool{}, texts: map[string]bool{}, sources: map[string]bool{}, earlier: map[string]bool{}}
}

// Add notes that a repository lacks something.
func (l *Lacking) Add(at auth.Repository, source Source, o Omitted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := at.String() + "@" + o.Digest.String()
	o.In = sanitize.Text(fmt.Sprintf("%.255s", o.In)) // a stranger's
	if o.In != "" {
		text += " (in " + o.In + ")"
		l.earlier[o.In] = true
	}
	l.contents[o.Digest], l.texts[text], l.sources[source.Name()] = true, true, true
}

// Has reports whether content is among what is lacking.
func (l *Lacking) Has(d digest.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contents[d]
}

// Err names what is lacking, and where it was; nil if nothing is. Its class is
// errdefs.ErrNotFound.
func (l *Lacking) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.texts) == 0 {
		return nil
	}
	const shown = 20
	names := sorted(l.texts)
	if more := len(names) - shown; more > 0 {
		names = append(names[:shown], fmt.Sprintf("and %d more", more))
	}
	earlier := cmp.Or(strings.Join(sorted(l.earlier), " and "), "the earlier archive")
	return auth.Classed(errdefs.ErrNotFound, "%s leaves out content that is not where it goes: %s; copy %s there first",
		strings.Join(sorted(l.sources), " and "), strings.Join(names, ", "), earlier)
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
