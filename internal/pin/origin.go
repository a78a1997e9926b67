package pin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
)

// Origin is where a member was copied from (docs/spec.md, section 2a). Whoever
// made the index wrote it: it is a name for the member, and nothing else.
type Origin struct {
	Repository auth.Repository
	Tag        string        // "" when not known
	Digest     digest.Digest // "" when not known
}

// copied is a member with one of its origins.
type copied struct {
	Origin
	member Member
	bundle string // as the user gave it
}

// findCopy returns the pinned reference for an image outside the bundles; ""
// when there is no copy from its repository. One with a digest becomes the copy
// that has this very digest, whatever an origin says; one with a tag the copy
// of that tag; one that says neither the only copy.
func (p *Pinner) findCopy(w wanted) (string, error) {
	var refs []string
	var digests []digest.Digest
	for _, c := range p.copies[w.repository] {
		tagged := w.digest == "" && (w.tag == "" || c.Tag == w.tag)
		if tagged || c.member.Digest == w.digest {
			refs, digests = append(refs, c.member.Ref()), append(digests, c.member.Digest)
		}
	}
	slices.Sort(digests)
	switch digests = slices.Compact(digests); {
	case len(digests) > 1 && w.tag == "" && w.digest == "":
		return "", fmt.Errorf("image %.300s: no tag is there to choose one of %s; write it there", w.image, p.copiesFrom(w.repository))
	case len(digests) > 1:
		slices.Sort(refs)
		return "", ambiguous(w, slices.Compact(refs))
	case len(digests) == 1:
		return refs[0], nil // of several copies of the same content, the first
	case w.digest != "" || len(p.copies[w.repository]) == 0 || p.allowUnmatched:
		return "", nil
	}
	return "", &usage.Avoidable{By: ByAllowUnmatched, Err: auth.Classed(errdefs.ErrNotFound,
		"image %.300s: %s has other copies from there: %s", w.image, p.copies[w.repository][0].bundle, p.copiesFrom(w.repository))}
}

// copiesFrom lists the copies from a repository, by tag and digest.
func (p *Pinner) copiesFrom(repository string) string {
	var names []string
	for _, c := range p.copies[repository] {
		name := c.member.Namespace + " (" + repository
		if c.Tag != "" {
			name += ":" + c.Tag
		}
		if c.Digest != "" && c.Tag == "" {
			name += "@" + c.Digest.String()
		}
		names = append(names, name+")")
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
