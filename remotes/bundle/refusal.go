package bundle

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// ecr are the hosts of Amazon's registries.
var ecr = regexp.MustCompile(`^(public\.ecr\.aws|\d+\.dkr[.-]ecr(-fips)?\..+)$`)

// refusal adds to a registry's refusal what it means and what to do.
func refusal(to auth.Repository, err error) error {
	var status remoteerrors.ErrUnexpectedStatus
	var denied *auth.DeniedError
	switch {
	case err == nil || errors.As(err, &denied):
		return err
	case !errors.As(err, &status):
		return fmt.Errorf("%s: %w", to, err)
	}
	unknown := status.StatusCode == http.StatusNotFound && strings.EqualFold(registry.ComplaintIn(status.Body).Code, "NAME_UNKNOWN")
	switch {
	case unknown && ecr.MatchString(to.Host()):
		return fmt.Errorf("%s: %w; Amazon ECR wants repositories created first: aws ecr create-repository --repository-name %s, "+
			"or a repository creation template for create on push", to, err, to.Name())
	case unknown:
		return fmt.Errorf("%s: %w; the registry does not know the repository: create it (or its project) first", to, err)
	case status.StatusCode == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s: %w; the registry, or a proxy in front of it, has a limit below this size", to, err)
	}
	return err
}

// CheckParent refuses child repositories on Docker Hub, whose names have two
// components.
func CheckParent(parent auth.Repository) error {
	if parent.Host() != "docker.io" {
		return nil
	}
	return &AvoidableError{Err: usage.Errorf("Docker Hub has no repositories below %s: names there have two components", parent), By: ByFlatten}
}

// CheckTag refuses a tag that was not read as part of a reference, for what is to
// be called so.
func CheckTag(of, tag string) error {
	if !auth.IsTag(tag) {
		return usage.Errorf("%s: tag %.64q: must have up to 128 letters, digits, _, . and -, and not begin with . or -", of, tag)
	}
	return nil
}

// incomplete adds to the refusal of an index without child namespaces that its
// content is incomplete.
func incomplete(to auth.Repository, desc ocispec.Descriptor, err error) error {
	if !images.IsIndexType(desc.MediaType) || !refused(err) {
		return err
	}
	return avoidable(ByAll, "%w; %s wants all that an index points to", err, to.Host())
}
