// Package lock writes down what a bundle consists of, in a file that stands in
// for its reference from then on: whoever uses the lock gets that content, or
// an error.
//
// Read the files in this order:
//
//   - lock.go: a [Lock] is the file. [New] makes one of a bundle, and
//     [Lock.Write] writes it, always with the same bytes for the same content,
//     so that git shows what has changed;
//   - read.go: [Parse] and [ReadFile] read it strictly, because people edit
//     files and merge them; edited.go says what has become of such a file;
//   - ref.go: [ReadRef] reads what a user names: a reference or a lock.
//     [Ref.Open] opens the bundle;
//   - diff.go: a lock is compared with what an index says;
//   - earlier.go: a copy may leave out what a lock lists.
//
// A lock is a claim that is checked, never a place to fetch from: the bundle is
// opened in its repository, and everything in it is reached from its root.
//
// Package bundle is below it; its users are internal/check and cmd/nestctl.
package lock

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// version is that of the file's format.
const version = 1

// maxSize bounds a lock, in bytes: as many lines for content as a walk may have
// nodes, of 95 bytes each, and twice that for members.
const maxSize = 32 << 20

// Lock is what a bundle consists of. Those that [New], [Parse] and [ReadFile]
// return are valid. Lists are sorted when they are written.
type Lock struct {
	Version    int           `json:"version"`
	Repository string        `json:"repository"`    // with its host
	Tag        string        `json:"tag,omitempty"` // "" when it was locked by digest
	Root       Root          `json:"root"`
	Carrier    digest.Digest `json:"carrier,omitempty"` // of the manifest that carries the root
	Selection                // of what is in Members and Content
	Members    []Member      `json:"members"`
	// Content are all manifests, indexes, configs and layers, with their sizes in
	// bytes: what a copy of the selection carries, and so what need not be sent to
	// somebody who has it. There are no referrers in it, and no layers that
	// must not be distributed.
	Content map[digest.Digest]int64 `json:"content"`

	name string          // of the file, for errors
	repo auth.Repository // Repository
}

// Root is the root: of a carrier, the index in it.
type Root struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Platforms []string      `json:"platforms,omitempty"` // of its images that are no members
}

// Member is an entry of an index that states a child namespace. The indexes
// above selected members are listed, too.
type Member struct {
	Namespace string        `json:"namespace"` // composed path from the root
	Digest    digest.Digest `json:"digest"`    // as the index says: it may be a carrier's
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Platform  string        `json:"platform,omitempty"`  // as the index says
	Platforms []string      `json:"platforms,omitempty"` // of the images in it, when it is an index
	Origins   []string      `json:"origins,omitempty"`   // docs/spec.md, section 2a
}

// Selection is what of a bundle is locked.
type Selection struct {
	Platform string   `json:"platform,omitempty"` // os/architecture[/variant]; "" for all
	Selected []string `json:"selected,omitempty"` // members, by namespace; empty for all
}

// matcher is that of the platform; nil for all.
func (s Selection) matcher() (platforms.Matcher, error) {
	if s.Platform == "" {
		return nil, nil
	}
	p, err := platforms.Parse(s.Platform)
	if err != nil {
		return nil, err
	}
	return platforms.OnlyStrict(p), nil
}

// covers reports whether a namespace is selected, or that of an index above
// something that is.
func (s Selection) covers(namespace string) bool { return covers(s.Selected, namespace) }

func covers(selected []string, namespace string) bool {
	return len(selected) == 0 || slices.ContainsFunc(selected, func(m string) bool {
		return m == namespace || strings.HasPrefix(m, namespace+"/") || strings.HasPrefix(namespace, m+"/")
	})
}

func (s Selection) bundle() (bundle.Selection, error) {
	matcher, err := s.matcher()
	return bundle.Selection{Platform: matcher, Members: s.Selected}, err
}

// New locks a bundle. It reads all its selected manifests and indexes, and no
// other content. tag is the one that it was opened by; "" for none.
func New(ctx context.Context, b *bundle.Bundle, tag string, s Selection) (*Lock, error) {
	if p, err := platforms.Parse(s.Platform); err == nil && s.Platform != "" {
		s.Platform = platforms.Format(p) // in one spelling
	}
	s.Selected = slices.Compact(slices.Sorted(slices.Values(s.Selected)))
	selection, err := s.bundle()
	if err != nil {
		return nil, err
	}
	walked, err := b.Walk(ctx, bundle.Options{Selection: selection, Blobs: true, OmitNonDistributable: true}, bundle.Visitor{})
	if err != nil {
		return nil, err
	}
	root := b.Root
	l := &Lock{
		Version:    version,
		Repository: b.Repository.String(),
		Tag:        tag,
		Root:       Root{root.Digest, root.MediaType, root.Size, inside(walked.Root)},
		Selection:  s,
		Members:    members(walked.Root.All(), s.covers),
		Content:    map[digest.Digest]int64{},
	}
	l.add(root)
	if carrier, ok := b.Fetcher.Carrier(); ok {
		l.Carrier = carrier.Digest
		l.add(carrier)
	}
	for _, n := range walked.Root.All() {
		l.add(n.Descriptor)
		l.add(n.Stored().Descriptor)
	}
	return l, l.check()
}

// add adds content.
func (l *Lock) add(d ocispec.Descriptor) { l.Content[d.Digest] = d.Size }

// members are those among nodes that are selected, in order.
func members(nodes []*bundle.Node, selected func(namespace string) bool) []Member {
	all := []Member{}
	for _, n := range nodes {
		if !n.IsMember() || !selected(n.Namespace) {
			continue
		}
		d := n.Stored().Descriptor
		m := Member{Namespace: n.Namespace, Digest: d.Digest, MediaType: d.MediaType, Size: d.Size, Platform: bundle.PlatformOf(n.Platform)}
		if m.Platform == "" {
			m.Platforms = inside(n)
		}
		for _, o := range n.Origins {
			m.Origins = append(m.Origins, o.String())
		}
		slices.Sort(m.Origins)
		all = append(all, m)
	}
	slices.SortFunc(all, inOrder)
	return all
}

func inOrder(a, b Member) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Digest.String(), b.Digest.String()))
}

// inside are the platforms of the images in an index that are no members.
func inside(n *bundle.Node) (all []string) {
	for _, c := range n.Children {
		if c.IsMember() {
			continue
		}
		if p := bundle.PlatformOf(c.Platform); p != "" {
			all = append(all, p)
		}
		all = append(all, inside(c)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Print writes the lock of a bundle, as [New] and [Lock.Write] do.
func Print(ctx context.Context, out io.Writer, b *bundle.Bundle, tag string, s Selection) error {
	l, err := New(ctx, b, tag, s)
	if err != nil {
		return err
	}
	return l.Write(out)
}

// Write writes the lock: JSON with a line for each value, which ends in a
// newline. Errors: those of out, and one for a lock that would be too large to
// be read.
func (l *Lock) Write(out io.Writer) error {
	sorted := *l
	sorted.Members = slices.Clone(l.Members)
	slices.SortFunc(sorted.Members, inOrder)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(sorted); err != nil {
		return err
	}
	data := sanitize.JSON(text.Bytes())
	if len(data) > maxSize {
		return fmt.Errorf("lock: more than %s; lock fewer members", amount.Bytes(maxSize))
	}
	_, err := out.Write(data)
	return err
}
