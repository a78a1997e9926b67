package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// bundlePins are what images of a bundle become.
type bundlePins struct {
	ref        string // as it was asked for
	repository string
	own        string // the image that is the bundle itself; "" when it has no tag
	root       string // that, pinned
	members    []pin
	passed     []string // what is not selected
}

// manifestPins are what images become.
type manifestPins struct {
	bundles        []bundlePins
	allowUnmatched bool
}

// resolveManifests prints manifests with pinned references for the images that
// bundles have.
func (s *settings) resolveManifests(ctx context.Context, in io.Reader, out io.Writer, o resolveOptions, refs []string) error {
	manifests, err := readManifests(ctx, in, o.files)
	if err != nil {
		return err
	}
	pins := manifestPins{make([]bundlePins, len(refs)), o.allowUnmatched}
	for i, ref := range refs {
		if pins.bundles[i], err = s.bundlePins(ctx, ref, o); err != nil {
			return err
		}
	}
	return printManifests(out, manifests, pins.instead)
}

func printManifests(out io.Writer, manifests []*manifest, instead func(image string) (string, error)) error {
	texts := make([][]byte, len(manifests))
	for i, m := range manifests {
		var err error
		if texts[i], err = m.rewrite(instead); err != nil {
			return err
		}
	}
	if manifests[0].marked {
		texts[0] = slices.Concat(byteOrderMark, texts[0])
	}
	_, err := out.Write(joinManifests(texts))
	return err
}

func (s *settings) bundlePins(ctx context.Context, ref string, o resolveOptions) (bundlePins, error) {
	w, root, err := s.walk(ctx, ref, o.platform, false, o.members)
	if err != nil {
		return bundlePins{}, err
	}
	tagged := root.Digest // by what the tag says
	if carrier, ok := w.fetcher.Carrier(); ok {
		tagged = carrier.Digest
	}
	repository := w.top.String()
	b := bundlePins{ref: ref, repository: repository, own: ownImage(ref), root: repository + "@" + tagged.String()}
	for _, p := range w.pins(root) {
		if p.Namespace != "" {
			b.members = append(b.members, p)
		}
	}
	for _, passed := range w.passed {
		member, _, _ := strings.Cut(passed, " ")
		if !b.has(member) {
			b.passed = append(b.passed, passed)
		}
	}
	slices.Sort(b.passed)
	b.passed = slices.Compact(b.passed)
	return b, nil
}

func (b bundlePins) has(member string) bool {
	return slices.ContainsFunc(b.members, func(p pin) bool { return p.Namespace == member })
}

// ownImage is a reference as an image names it: by its tag.
func ownImage(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ""
	}
	if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
		return named.Name() + ":" + tagged.Tag()
	}
	return ""
}

// instead is the pinned reference for an image; "" for one that stays as it is.
// What a member's image has for a tag does not count: the bundle says what it
// is. The bundle's own image is another one with another tag.
func (p manifestPins) instead(image string) (string, error) {
	image = strings.TrimSpace(image)
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", p.unmatched(image, image, err)
	}
	if _, pinned := named.(reference.Digested); pinned {
		return "", nil
	}
	var refs []string
	for _, b := range p.bundles {
		if b.own == reference.TagNameOnly(named).String() {
			refs = append(refs, b.root)
		}
		for _, member := range b.members {
			if member.target == named.Name() {
				refs = append(refs, member.Ref)
			}
		}
	}
	slices.Sort(refs)
	switch refs = slices.Compact(refs); len(refs) {
	case 0:
		return "", p.unmatched(image, named.Name(), nil)
	case 1:
		return refs[0], nil
	}
	return "", fmt.Errorf("image %s: may be %s; choose with --platform, or write the digest of the right one there", image, strings.Join(refs, " or "))
}

// unmatched is the error for an image that would stay unpinned although it is
// below a bundle's repository.
func (p manifestPins) unmatched(image, repository string, invalid error) error {
	if p.allowUnmatched {
		return nil
	}
	for _, b := range p.bundles {
		familiar := strings.TrimPrefix(b.repository, "docker.io/")
		if !strings.HasPrefix(repository, b.repository+"/") && !strings.HasPrefix(repository, familiar+"/") {
			continue
		}
		reason := "no member of " + b.ref + ", which has " + b.listed()
		if invalid != nil {
			reason = invalid.Error()
		}
		return missingError(fmt.Sprintf("image %.300s: %s; --allow-unmatched leaves such images as they are", image, reason))
	}
	return nil
}

// listed are the members for an error.
func (b bundlePins) listed() string {
	var names []string
	for _, p := range b.members {
		names = append(names, p.Namespace)
	}
	if len(names) == 0 {
		names = []string{"none"}
	}
	list := strings.Join(slices.Compact(names), ", ")
	if len(b.passed) > 0 {
		list += fmt.Sprintf(" (others with --platform or --member: %s)", strings.Join(b.passed, ", "))
	}
	return list
}
