package auth

import (
	"cmp"
	"fmt"
	"regexp"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Reference is a repository with a tag or a digest. The zero value is none; one
// that was parsed, or made of a [Repository], is well formed.
type Reference struct {
	repository Repository
	tag        string
	digest     digest.Digest
}

// maxReference is enough for the longest repository, tag and digest (SHA-512)
// together. A longer string is cut in errors.
const maxReference = maxRepository + 512

// ParseReference reads a reference as docker does: what names no registry is on
// docker.io, what has neither a tag nor a digest has the tag latest, and where
// there are both, the digest counts.
func ParseReference(s string) (Reference, error) {
	ref, _, err := ParseWritten(s)
	return ref, err
}

// ParseWritten is [ParseReference], and returns the tag as it was written, too:
// also beside a digest, and "" where there is none.
func ParseWritten(s string) (ref Reference, tag string, err error) {
	if len(s) > maxReference {
		return Reference{}, "", fmt.Errorf("reference %.64q…: longer than %d characters", s, maxReference)
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, "", fmt.Errorf("reference %q: %w", s, err)
	}
	repository, err := ParseRepository(named.Name())
	if err != nil {
		return Reference{}, "", err
	}
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		return Reference{repository: repository, digest: digested.Digest()}, tag, nil
	}
	return Reference{repository: repository, tag: cmp.Or(tag, "latest")}, tag, nil
}

// WithTag returns the reference by a tag. It is an error when the string is none.
func (r Repository) WithTag(tag string) (Reference, error) {
	if r == (Repository{}) || !IsTag(tag) {
		return Reference{}, fmt.Errorf("reference %s:%.64q: not a repository and a tag", r, tag)
	}
	return Reference{repository: r, tag: tag}, nil
}

// WithDigest returns the reference by a digest, which has to be valid.
func (r Repository) WithDigest(d digest.Digest) (Reference, error) {
	if r == (Repository{}) || d.Validate() != nil {
		return Reference{}, fmt.Errorf("reference %s@%.64q: not a repository and a digest", r, d)
	}
	return Reference{repository: r, digest: d}, nil
}

// Repository returns the repository.
func (r Reference) Repository() Repository { return r.repository }

// Tag returns the tag; "" for a reference by digest.
func (r Reference) Tag() string { return r.tag }

// Digest returns the digest; "" for a reference by tag.
func (r Reference) Digest() digest.Digest { return r.digest }

// String returns repository:tag or repository@digest, which [ParseReference]
// reads back.
func (r Reference) String() string {
	if r.digest != "" {
		return r.repository.String() + "@" + r.digest.String()
	}
	return r.repository.String() + ":" + r.tag
}

var validTag = regexp.MustCompile(`^\w[\w.-]{0,127}$`)

// IsTag reports whether a string may be a tag: up to 128 of letters, digits, _, .
// and -, that begin with neither . nor -.
func IsTag(s string) bool { return validTag.MatchString(s) }
