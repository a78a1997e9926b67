package auth

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Reference is a repository with a tag or a digest. The zero value is none;
// others come from [ParseReference], so that one that exists is well formed.
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
	if len(s) > maxReference {
		return Reference{}, fmt.Errorf("reference %.64q…: longer than %d characters", s, maxReference)
	}
	named, err := reference.ParseDockerRef(s)
	if err != nil {
		return Reference{}, fmt.Errorf("reference %q: %w", s, err)
	}
	repository, err := ParseRepository(reference.TrimNamed(named).Name())
	if err != nil {
		return Reference{}, err
	}
	switch named := named.(type) {
	case reference.Digested:
		return Reference{repository, "", named.Digest()}, nil
	case reference.Tagged:
		return Reference{repository, named.Tag(), ""}, nil
	}
	return Reference{}, fmt.Errorf("reference %q: %w", s, errors.New("neither a tag nor a digest"))
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
