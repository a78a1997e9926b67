// Package completion finds what a shell may offer for a reference that is being
// typed: tags of a repository ([Tags]), and members of an index ([Members]).
//
// Somebody waits at a prompt, and has asked for nothing: what takes longer than
// [Patience], and what fails, is not offered, and no word is said about it.
// completion.go finds them, and words.go says where which are offered.
package completion

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Patience is how long a shell waits: longer, and it seems to hang.
const Patience = 2 * time.Second

// most are as many as somebody looks at.
const most = 500

// Repository returns the repository in a reference that is typed up to its tag or
// into it, and what is in front of the tag. It returns false before the colon, and
// of locks, layouts and archives, which are files.
func Repository(typed string) (repository auth.Repository, before string, ok bool) {
	colon := strings.LastIndex(typed, ":")
	if colon <= strings.LastIndex(typed, "/") || strings.Contains(typed, "@") { // of a port, or none
		return auth.Repository{}, "", false
	}
	name := typed[:colon]
	if !strings.Contains(name, "/") && (strings.Contains(name, ".") || name == "localhost" || name == "lock") {
		return auth.Repository{}, "", false // a host whose port is typed, or a lock: docker.io is not to be asked for it
	}
	if strings.HasPrefix(typed, "oci-layout:") || strings.HasPrefix(typed, "oci-archive:") {
		return auth.Repository{}, "", false
	}
	ref, err := auth.ParseReference(name)
	return ref.Repository(), typed[:colon+1], err == nil
}

// Tags are the references that what is typed may become, with the tags of its
// repository. Those that protect members are left out.
func Tags(ctx context.Context, client *registry.Client, typed string) []string {
	repository, before, ok := Repository(typed)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	tags, err := client.Tags(ctx, repository)
	if err != nil {
		return nil
	}
	var all []string
	for _, tag := range slices.Sorted(slices.Values(tags)) {
		if ref := before + tag; strings.HasPrefix(ref, typed) && nested.Protecting(tag) == "" && len(all) < most {
			all = append(all, ref)
		}
	}
	return all
}

// Members are the paths of the members of an index, those in members too.
func Members(ctx context.Context, resolver *nested.Resolver, ref auth.Reference) []string {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	b, err := bundle.Open(ctx, resolver, ref)
	if err != nil {
		return nil
	}
	found := map[string]bool{}
	membersBelow(ctx, b, b.Root, "", found)
	var all []string
	for path := range found {
		all = append(all, path)
	}
	slices.Sort(all)
	return all
}

// membersBelow notes the members of an index, one path once although each of its
// platforms has it. An index in itself ends with [most].
func membersBelow(ctx context.Context, b *bundle.Bundle, index ocispec.Descriptor, path string, found map[string]bool) {
	members, err := b.Fetcher.Members(ctx, index)
	if err != nil {
		return
	}
	for _, m := range members {
		below := path + m.Child.String()
		if found[below] || len(found) >= most {
			continue
		}
		found[below] = true
		if images.IsIndexType(m.MediaType) {
			membersBelow(ctx, b, m.Descriptor, below+"/", found)
		}
	}
}
