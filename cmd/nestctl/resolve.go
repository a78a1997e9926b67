package main

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/pin"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/registry"
)

// resolveOptions are the flags of resolve.
type resolveOptions struct {
	members, files   []string
	platform, format string
	allowUnmatched   bool
}

func newResolve(s *settings) *cobra.Command {
	var o resolveOptions
	c := &cobra.Command{
		Use:   "resolve [-f FILE]... REF...",
		Short: "Print the references of a bundle's members by digest, or pin them in Kubernetes manifests",
		Long: `The references are for tools that do not follow child namespaces. A bundle without
members resolves to itself.

With --format lock, print a lock: a file with the digests of the root, of all
members and of their content, the same bytes for the same bundle. pull, copy,
check, tree and resolve take its name in place of REF: app.lock, any path that
begins with ./ or /, or lock:FILE. A tag that has moved since then is an error.

With -f, print Kubernetes manifests with pinned images. An image in a
member's repository becomes the pinned reference of that member, whatever tag it
has. An image that is a bundle itself, with the tag of REF, gets the digest of
REF. An image that was copied into the bundle becomes the copy, by its tag or
digest. Other images that have a digest, and images from elsewhere, do not
change. An image below a bundle's repository that is not a member is an error,
and so is another tag of an image that was copied. Images are the strings of
keys "image", and in image volumes those of "reference". Nothing else changes,
not even comments or the order.

With -f and --format helm, pin images in a Helm values file: repository and digest
get new values, and registry if it is there.`,
		Example: `  nestctl resolve --format kustomize registry.example.com/org/app:v1
  nestctl resolve --format lock registry.example.com/org/app:v1 > app.lock
  nestctl resolve -f deploy/ registry.example.com/org/app:v1 | kubectl apply -f -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(o.files) > 0 {
				return cobra.MinimumNArgs(1)(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if len(o.files) > 0 {
				return s.pinManifests(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), o, args)
			}
			return s.listPinned(cmd.Context(), cmd.OutOrStdout(), args[0], o)
		},
	}
	o.flags(c)
	return c
}

func (o *resolveOptions) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&o.members, "member", nil, "only the member at this `path`, such as web or a/b, and those below it (repeatable)")
	c.Flags().StringVar(&o.platform, "platform", "", "only members of this platform, `os/arch[/variant]` (default: this host's; for a lock: all)")
	commandline.ChoiceVar(c.Flags(), &o.format, "format", "ref", "format of the result; helm: --filename is a Helm values file", append(pin.Formats(), "lock", "helm")...)
	c.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "Kubernetes manifests: a `file`, a directory with *.yaml, *.yml and *.json, or - for standard input (repeatable)")
	c.Flags().BoolVar(&o.allowUnmatched, "allow-unmatched", false, "with -f, do not change images that are not members but are below a bundle's repository, or in a repository that members were copied from")
}

// check checks the flags that cannot be combined.
func (o *resolveOptions) check(cmd *cobra.Command) error {
	switch {
	case o.format == "helm" && len(o.files) != 1:
		return usage.Errorf("--format helm needs one --filename, a values file")
	case len(o.files) > 0 && cmd.Flags().Changed("format") && o.format != "helm":
		return usage.Errorf("--format and --filename exclude each other")
	case len(o.files) == 0 && o.allowUnmatched:
		return usage.Errorf("--allow-unmatched needs --filename")
	case stdins(o.files) > 1:
		return usage.Errorf("--filename -: standard input can be read only once")
	}
	return nil
}

// stdins counts how often standard input would be read.
func stdins(files []string) int {
	return len(slices.DeleteFunc(slices.Clone(files), func(file string) bool { return file != "-" }))
}

// walk reads the manifests and indexes of a bundle, and no other content.
func (s *settings) walk(ctx context.Context, ref lock.Ref, platform string, all bool, members []string) (*bundle.Bundle, *bundle.Walked, error) {
	selection, err := selectionFlags(platform, all, members)
	if err != nil {
		return nil, nil, err
	}
	b, err := s.open(ctx, nil, new(registry.Metrics), ref)
	if err != nil {
		return nil, nil, err
	}
	walked, err := b.Walk(ctx, bundle.Options{Selection: selection}, bundle.Visitor{})
	return b, walked, err
}

// listPinned prints the references of a bundle's members, or of one without
// members its own.
func (s *settings) listPinned(ctx context.Context, out io.Writer, arg string, o resolveOptions) error {
	ref, err := readRef(ctx, arg)
	if err != nil {
		return err
	}
	if o.format == "lock" {
		return s.writeLock(ctx, out, ref, o)
	}
	b, walked, err := s.walk(ctx, ref, o.platform, false, o.members)
	if err != nil {
		return err
	}
	pinned := b.Pinned(walked)
	if len(pinned) == 0 {
		pinned = []bundle.Pinned{b.PinnedRoot()}
	}
	return pin.List(out, o.format, pinMembers(pinned))
}

// writeLock prints a lock of everything, unless flags select less: it must not
// depend on the host.
func (s *settings) writeLock(ctx context.Context, out io.Writer, ref lock.Ref, o resolveOptions) error {
	if _, err := selectionFlags(o.platform, o.platform == "", o.members); err != nil {
		return err
	}
	b, err := s.open(ctx, nil, new(registry.Metrics), ref)
	if err != nil {
		return err
	}
	return lock.Print(ctx, out, b, ref.Tag(), lock.Selection{Platform: o.platform, Selected: o.members})
}

// pinManifests prints Kubernetes manifests with pinned references. It reads all
// files before the first request, and prints only when everything is pinned:
// half a stream must not reach kubectl.
func (s *settings) pinManifests(ctx context.Context, in io.Reader, out io.Writer, o resolveOptions, refs []string) error {
	write, err := pin.Open(ctx, in, o.files, o.format == "helm")
	if err != nil {
		return err
	}
	bundles := make([]pin.Bundle, len(refs))
	for i, ref := range refs {
		if bundles[i], err = s.pinBundle(ctx, ref, o); err != nil {
			return err
		}
	}
	return write(out, pin.NewPinner(bundles, o.allowUnmatched))
}

// pinBundle returns the references that the images of a bundle are replaced by.
// For a carrier, the tag has the carrier's digest, which is what other clients
// pull.
func (s *settings) pinBundle(ctx context.Context, arg string, o resolveOptions) (pin.Bundle, error) {
	ref, err := readRef(ctx, arg)
	if err != nil {
		return pin.Bundle{}, err
	}
	b, walked, err := s.walk(ctx, ref, o.platform, false, o.members)
	if err != nil {
		return pin.Bundle{}, err
	}
	return pin.Bundle{
		Ref:        arg,
		Tag:        cmp.Or(ref.Written, ref.Tag()),
		Repository: b.Repository,
		Digest:     b.PinnedRoot().Digest,
		Members:    pinMembers(b.Pinned(walked)),
		Unselected: walked.Unselected,
	}, nil
}

func pinMembers(pinned []bundle.Pinned) []pin.Member {
	members := make([]pin.Member, len(pinned))
	for i, p := range pinned {
		members[i] = pin.Member{Namespace: p.Namespace, Target: p.Target, Repository: p.Repository, Digest: p.Digest}
		for _, o := range p.Origins {
			members[i].Origins = append(members[i].Origins, pin.Origin(o))
		}
	}
	return members
}
