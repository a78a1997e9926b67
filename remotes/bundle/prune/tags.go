package prune

import (
	"regexp"
	"strings"

	"github.com/nestedoci/nested/internal/oci"
)

// protecting is the form of the tags that protect members (docs/spec.md, section
// 8b), with the short digest of the index.
var protecting = regexp.MustCompile(`^nested-([0-9a-f]{12})(-[0-9a-f]{12})?$`)

// isRelease reports whether a tag may be one that people gave: not one that
// protects a member, nor one for what refers to something.
func isRelease(tag string) bool {
	_, refers := oci.SubjectOfTag(tag)
	return !refers && !protecting.MatchString(tag)
}

// protects reports whether a tag protects a member of an index.
func protects(tag string, index stored) bool {
	m := protecting.FindStringSubmatch(tag)
	return m != nil && strings.HasPrefix(index.digest.Encoded(), m[1])
}
