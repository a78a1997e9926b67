package tree

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/bundle"
)

// sizes are what nodes have, with everything below: manifests, indexes and
// blobs, each once.
type sizes struct {
	contents map[*bundle.Node][]content // of the node itself
	total    map[*bundle.Node]int64
	steps    int
}

type content struct {
	digest digest.Digest
	size   int64
}

// maxSteps bounds the work: a hostile graph in which everything points to
// everything would take hours, and real ones take as many steps as they have
// lines, for each level.
const maxSteps = 5_000_000

// sizesOf sums up what a walk has found. It asks for nothing that the walk has
// not read.
func sizesOf(ctx context.Context, b *bundle.Bundle, root *bundle.Node) (*sizes, error) {
	s := &sizes{map[*bundle.Node][]content{}, map[*bundle.Node]int64{}, maxSteps}
	all := root.All()
	for _, n := range all {
		s.contents[n] = []content{{n.Digest, n.Size}}
		if !oci.IsManifestOrIndex(n.MediaType) {
			continue
		}
		entries, err := b.Fetcher.Children(ctx, n.Descriptor)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !oci.IsManifestOrIndex(e.MediaType) {
				s.contents[n] = append(s.contents[n], content{e.Digest, e.Size})
			}
		}
	}
	for _, n := range all {
		s.add(n)
	}
	return s, nil
}

// add adds the total of a node, while there are steps left.
func (s *sizes) add(n *bundle.Node) {
	seen := map[digest.Digest]bool{}
	var total int64
	for _, below := range n.Where(func(*bundle.Node) bool { s.steps--; return s.steps > 0 }) {
		for _, c := range s.contents[below] {
			if !seen[c.digest] {
				total = amount.Add(total, c.size)
			}
			seen[c.digest] = true
		}
		s.steps -= len(s.contents[below]) + len(below.Children)
	}
	if s.steps > 0 {
		s.total[n] = total
	}
}

// text is the total of a node, for people.
func (s *sizes) text(n *bundle.Node) string {
	total, ok := s.total[n]
	if !ok {
		return "not added up"
	}
	return amount.Bytes(total)
}
