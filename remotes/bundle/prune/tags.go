package prune

import (
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/nested"
)

// isRelease reports whether a tag may be one that people gave: not one that
// protects a member, nor one for what refers to something.
func isRelease(tag string) bool {
	_, refers := oci.SubjectOfTag(tag)
	return !refers && nested.Protecting(tag) == ""
}

// protects reports whether a tag protects a member of an index.
func protects(tag string, index stored) bool {
	first := nested.Protecting(tag)
	return first != "" && first == protectedBy(index.digest)
}

// protectedBy is the first of the tags that protect members of an index; "" when
// the digest is none.
func protectedBy(index digest.Digest) string {
	if index.Validate() != nil {
		return ""
	}
	return nested.Protect(index).Tags(index)[0]
}

// protections are the indexes whose members tags may protect, by the first of
// those tags: digests are cut in them.
type protections struct {
	mayGo map[string][]stored
	stay  map[string]bool // one that is not among those that may go
}

func (s *settling) protections() protections {
	p := protections{map[string][]stored{}, map[string]bool{}}
	for _, c := range s.order {
		if s.names[c].isIndex {
			first := protectedBy(c.digest)
			p.mayGo[first] = append(p.mayGo[first], c)
		}
	}
	for _, trees := range s.tagged {
		for _, t := range trees {
			for c, e := range t.names {
				if e.isIndex && s.names[c] == nil {
					p.stay[protectedBy(c.digest)] = true
				}
			}
		}
	}
	return p
}
