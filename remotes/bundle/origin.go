package bundle

import (
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// Origin is where content was copied from, the value of
// [nested.OriginAnnotation] (docs/spec.md, section 2a). Whoever made an index wrote it there,
// and nobody has checked it: it is for people, and for tools that replace names,
// never a place to fetch from. The zero value is none. Origins are comparable.
type Origin struct {
	Repository auth.Repository
	Tag        string        // "" when not known
	Digest     digest.Digest // "" when not known
}

// ParseOrigin reads host/repository[:tag][@digest] in its full spelling, which
// [Origin.String] writes: docker.io/library/nginx, not nginx.
func ParseOrigin(s string) (Origin, error) {
	ref, tag, err := auth.ParseWritten(s)
	if err != nil {
		return Origin{}, fmt.Errorf("origin: %w", err)
	}
	o := Origin{ref.Repository(), tag, ref.Digest()}
	if o.String() != s {
		return Origin{}, fmt.Errorf("origin %s: its full spelling is %s", sanitize.Quote(s), o)
	}
	return o, nil
}

// String returns host/repository[:tag][@digest], which [ParseOrigin] reads back.
func (o Origin) String() string {
	s := o.Repository.String()
	if o.Tag != "" {
		s += ":" + o.Tag
	}
	if o.Digest != "" {
		s += "@" + o.Digest.String()
	}
	return s
}

// originate notes the origin that an entry of an index states for a node. Several
// entries may: one image can have been copied under several names. What does not parse
// says nothing, like any annotation that is not known.
func (f *found) originate(n *Node, stated string) {
	if stated == "" {
		return
	}
	o, err := ParseOrigin(stated)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.origins[n], o) {
		f.origins[n] = append(f.origins[n], o)
	}
}
