// Package records makes containerd's image records for bundles: one for the
// root, and one by digest for each member, which lives as long as a bundle that
// has the member. Packages internal/ctd and plugin use it.
package records

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// backReference is the label that ties a member's record to the lifetime of
	// its bundle's.
	backReference = "containerd.io/gc.bref.image"
	expire        = "containerd.io/gc.expire"
)

// Bundle is the bundle with a name, in the namespace of the context.
type Bundle struct {
	Images images.Store
	Name   string // of the root's record
}

// label is the label for the bundle on its members. A member may belong to
// several bundles.
func (b Bundle) label() string {
	sum := sha256.Sum256([]byte(b.Name))
	return backReference + "/" + hex.EncodeToString(sum[:6])
}

// Root makes the record for the root. If there is a member's record of that
// name, it becomes an ordinary one, which stays until it is removed.
func (b Bundle) Root(ctx context.Context, target ocispec.Descriptor) error {
	image := images.Image{Name: b.Name, Target: target}
	return b.create(ctx, image, func() error {
		image.Labels = map[string]string{expire: ""} // an empty value removes the label
		_, err := b.Images.Update(ctx, image, "target", "labels."+expire)
		return err
	})
}

// create makes a record, or changes the existing one. It may be removed in
// between, but not each time.
func (b Bundle) create(ctx context.Context, image images.Image, change func() error) (err error) {
	for range 10 {
		if _, err = b.Images.Create(ctx, image); !errdefs.IsAlreadyExists(err) {
			return err
		}
		if err = change(); !errdefs.IsNotFound(err) {
			return err
		}
	}
	return err
}

// Member is a member of a bundle by its record's name, <repository>@<digest>.
type Member struct {
	Name   string
	Target ocispec.Descriptor
}

// Members makes the records of the pulled members, with some labels, and
// removes the bundle's label from former members. Members at or below a
// repository in passed were not pulled; they may still belong to the bundle.
func (b Bundle) Members(ctx context.Context, members []Member, labels map[string]string, passed map[string]bool) error {
	pulled := map[string]bool{}
	for _, m := range members {
		if err := b.member(ctx, m.Name, m.Target, labels); err != nil {
			return err
		}
		pulled[m.Name] = true
	}
	return b.Release(ctx, func(name string) bool {
		repository, _, _ := strings.Cut(name, "@")
		for ; repository != "." && !passed[repository]; repository = path.Dir(repository) {
		}
		return pulled[name] || repository != "."
	})
}

// member makes a member's record. It is created expired: during the pull its
// lease keeps it, and later the root's record does. A record that others made
// does not change.
func (b Bundle) member(ctx context.Context, name string, target ocispec.Descriptor, labels map[string]string) error {
	image := images.Image{Name: name, Target: target, Labels: map[string]string{}}
	maps.Copy(image.Labels, labels)
	image.Labels[b.label()] = b.Name
	image.Labels[expire] = time.Now().UTC().Format(time.RFC3339)
	return b.create(ctx, image, func() error { return b.join(ctx, image, labels) })
}

// join adds the bundle to a member's record.
func (b Bundle) join(ctx context.Context, image images.Image, labels map[string]string) error {
	known, err := b.Images.Get(ctx, image.Name)
	if err != nil || known.Labels[expire] == "" {
		return err
	}
	paths := []string{"labels." + b.label()}
	for key := range labels {
		paths = append(paths, "labels."+key)
	}
	_, err = b.Images.Update(ctx, image, paths...)
	return err
}

// Release removes the bundle's label from members that an earlier pull had and
// this one does not.
func (b Bundle) Release(ctx context.Context, has func(name string) bool) error {
	earlier, err := b.Images.List(ctx, fmt.Sprintf("labels.%q==%q", b.label(), b.Name))
	if err != nil {
		return err
	}
	for _, image := range earlier {
		if has(image.Name) {
			continue
		}
		image.Labels = map[string]string{b.label(): ""}
		if _, err := b.Images.Update(ctx, image, "labels."+b.label()); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}
