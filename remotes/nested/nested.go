// Package nested follows child-namespace descriptors: entries of an image
// index that point into a repository below the one in which the index was
// found (docs/spec.md).
//
// [New] wraps any containerd remotes.Resolver. What it resolves and fetches
// is what the wrapped one would, but for the members of nested indexes, which
// it asks for in their own repositories. The client of package registry is a
// resolver to wrap that gives each repository its own token. Four methods that
// only that client has are used where a wrapped resolver or its fetcher has
// them: ResolveContent, KeepsReferences, ListReferrer and ListReferrers.
//
// Read the files in this order:
//
//   - child.go: [Child], a child namespace, and the repository that it names
//     below another one;
//   - rule.go: [Rule.Follow] decides where what a manifest or index points to
//     may be, as a [Place] (place.go). What several say of one piece of content
//     are [Places], and in which order they are tried (places.go);
//   - parse.go: how manifests and indexes are read, with scan.go for what their
//     decoded form hides, and fast.go for the common form;
//   - resolve.go: [Resolver.Resolve], where a pull begins; locations.go: what a
//     pull knows of where content may be;
//   - fetcher.go: [Fetcher.Fetch] asks there, with find.go for content of which
//     nothing is known yet, candidatereader.go for blobs, and referrers.go;
//   - pusher.go with plan.go, where the content of a root goes, and
//     pushcarrier.go. carry.go and strategy.go: how an index is published, and
//     its members are protected;
//   - error.go: what callers get when it fails.
//
// Manifests and indexes that have to do with child namespaces are read
// strictly, and everything else exactly as containerd reads it: no plain image
// may stop pulling because of this package.
package nested

import (
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/transfer"

	"github.com/nestedoci/nested/internal/oci"
)

// Limits bound what is followed through nested indexes (docs/spec.md, section
// 5). A zero means the default.
type Limits struct {
	Manifest    int64 // bytes of an index or manifest; 4 MiB
	Depth       int   // steps from an index to an entry, from root to member; 16
	Entries     int   // descriptors in one index; 10,000
	Descriptors int   // distinct descriptors in one pull; 100,000
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Manifest:    orDefault(l.Manifest, oci.MaxManifest),
		Depth:       orDefault(l.Depth, 16),
		Entries:     orDefault(l.Entries, 10_000),
		Descriptors: orDefault(l.Descriptors, 100_000),
	}
}

func orDefault[T int | int64](value, standard T) T {
	if value == 0 {
		return standard
	}
	return value
}

// Options are the settings of a [Resolver]; the zero value is usable.
type Options struct {
	Keys   Keys
	Limits Limits
	// Store is the content store that the pull fills, when there is one.
	// containerd fetches only what is missing there, so that what is not
	// missing is learnt from the store instead of asked for again. Without one
	// a push does not follow child namespaces.
	Store content.Provider
	// Complete says that the client has no manifests or indexes but those that
	// it got from the Fetcher, or from Store, on its way from the root. Then
	// content is where they say, and nothing else is asked for it. A client
	// that may hold others, as containerd does, could be after content of a
	// repository above, of which it has only been claimed that it is in a
	// member's.
	Complete bool
	// Strategy is how the registry is to take nested indexes that are pushed;
	// empty means [Auto].
	Strategy Strategy
}

// Resolver is a remotes.Resolver that follows child-namespace descriptors.
// Each Resolve begins a pull; the Fetcher for the name that it returned knows
// the pull's root. It may be used by several goroutines at once.
type Resolver struct {
	base     remotes.Resolver
	rule     Rule
	store    content.Provider
	complete bool
	strategy Strategy

	mu        sync.Mutex
	locations map[string]*locations // by the name that Resolve returned
	names     []string              // of the pulls, the oldest first
}

var _ remotes.ResolverWithOptions = (*Resolver)(nil)

// New wraps a resolver. Of the wrapped one's fetchers nothing is asked but
// Fetch with a reference in the repository that holds the content, by the
// content's digest.
func New(base remotes.Resolver, options Options) *Resolver {
	return &Resolver{
		base:      base,
		rule:      NewRule(options.Keys, options.Limits),
		store:     options.Store,
		complete:  options.Complete,
		strategy:  options.Strategy,
		locations: map[string]*locations{},
	}
}

// SetOptions implements remotes.ResolverWithOptions; the options go to the
// wrapped resolver, if it takes any.
func (r *Resolver) SetOptions(options ...transfer.ImageResolverOption) {
	if base, ok := r.base.(remotes.ResolverWithOptions); ok {
		base.SetOptions(options...)
	}
}

// maxPulls bounds the pulls that a resolver remembers at once.
const maxPulls = 64

// remember keeps what a pull knows for the Fetcher of the same name.
func (r *Resolver) remember(name string, l *locations) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(slices.DeleteFunc(r.names, func(n string) bool { return n == name }), name)
	if len(r.names) > maxPulls {
		delete(r.locations, r.names[0])
		r.names = r.names[1:]
	}
	r.locations[name] = l
}

func (r *Resolver) locationsOf(name string) (*locations, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.locations[name]
	return l, ok
}
