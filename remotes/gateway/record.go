package gateway

import (
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// record is what is kept of a place. Repositories are relative to the one in
// the key: "" is that itself, "web" the one below it.
type record struct {
	Seen      int64    `json:"s"` // Unix time in seconds
	MediaType string   `json:"t"`
	Size      int64    `json:"n"`
	Targets   []string `json:"r"`
	Times     []int64  `json:"w"` // when each target was seen
	Fallbacks []string `json:"f,omitempty"`
	Depth     int      `json:"d,omitempty"`
	Strict    bool     `json:"x,omitempty"`
	Entry     bool     `json:"e,omitempty"`
	Carried   bool     `json:"c,omitempty"`
}

// root tells whether the record is of an index found in the repository
// itself.
func (r record) root() bool {
	return r.Depth == 0 && images.IsIndexType(r.MediaType) && slices.Contains(r.Targets, "")
}

// newRecord is the record of a place that was seen just now.
func newRecord(parent auth.Repository, p nested.Place) record {
	now := time.Now().Unix()
	return record{
		Seen:      now,
		Times:     slices.Repeat([]int64{now}, len(p.Targets)),
		MediaType: p.Descriptor.MediaType,
		Size:      p.Descriptor.Size,
		Targets:   relative(parent, p.Targets),
		Fallbacks: relative(parent, p.Fallbacks),
		Depth:     p.Depth,
		Strict:    p.Strict,
		Entry:     p.Entry,
		Carried:   p.Carried,
	}
}

// keepTimes gives the targets behind the first fresh ones the times at which
// they were seen.
func (r record) keepTimes(old record, fresh int) record {
	for i := min(fresh, len(r.Targets)); i < len(r.Targets); i++ {
		if at := slices.Index(old.Targets, r.Targets[i]); at >= 0 {
			r.Times[i] = old.Times[at]
		}
	}
	return r
}

func relative(parent auth.Repository, repositories []auth.Repository) []string {
	names := make([]string, len(repositories))
	for i, r := range repositories {
		names[i] = strings.TrimPrefix(strings.TrimPrefix(r.String(), parent.String()), "/")
	}
	return names
}

// place reads a record back. What does not read as a place below the parent is
// none.
func (r record) place(parent auth.Repository, d digest.Digest) (nested.Place, bool) {
	p := nested.Place{
		Descriptor: ocispec.Descriptor{MediaType: r.MediaType, Digest: d, Size: r.Size},
		Depth:      r.Depth,
		Strict:     r.Strict,
		Entry:      r.Entry,
		Carried:    r.Carried,
	}
	var ok, all bool
	p.Targets, ok = absolute(parent, r.Targets)
	p.Fallbacks, all = absolute(parent, r.Fallbacks)
	return p, ok && all && len(p.Targets) > 0
}

func absolute(parent auth.Repository, names []string) ([]auth.Repository, bool) {
	var repositories []auth.Repository
	for _, name := range names {
		child := nested.Child{}
		if name != "" {
			var err error
			if child, err = nested.ParseChild(name); err != nil {
				return nil, false
			}
		}
		r, err := child.In(parent)
		if err != nil {
			return nil, false
		}
		repositories = append(repositories, r)
	}
	return repositories, true
}
