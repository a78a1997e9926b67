package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/ctd"
	"github.com/nestedoci/nested/internal/progress"
	"github.com/nestedoci/nested/internal/system"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/registry"
)

// pullOptions are the flags of pull.
type pullOptions struct {
	*settings
	to            string
	platform      string
	allPlatforms  bool
	members       []string
	concurrent    int
	quiet         bool
	format        string
	address       string
	namespace     string
	snapshotter   string
	noUnpack      bool
	memberRecords bool
}

// newPull returns the command. Flags default to the variables of containerd's
// own tools, so that nestctl finds the same daemon.
func newPull(s *settings) *cobra.Command {
	o := pullOptions{settings: s}
	c := &cobra.Command{
		Use:   "pull REF",
		Short: "Pull a bundle with its members",
		Long: `Each member is pulled from its own repository with its own credential. REF may be
a lock; see nestctl resolve.

The target is containerd, or an OCI image layout: a directory (oci-layout:DIR)
or an archive (oci-archive:FILE) that ctr image import accepts. To complete an
interrupted pull, run the command again: content that was received is not fetched
again.`,
		Example: `  nestctl pull registry.example.com/org/app:v1
  nestctl pull --member web --to oci-layout:app registry.example.com/org/app:v1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.allow(cmd, o.concurrent)
			return o.run(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&o.to, "to", "containerd", "`target`: containerd, oci-layout:DIR or oci-archive:FILE")
	f.StringVar(&o.platform, "platform", "", "only members of this platform, `os/arch[/variant]` (default: this host's)")
	f.BoolVar(&o.allPlatforms, "all-platforms", false, "pull members of all platforms")
	f.StringArrayVar(&o.members, "member", nil, "only the member at this `path`, such as web or a/b, and those below it (repeatable)")
	f.IntVar(&o.concurrent, "max-concurrent", 8, "maximum `number` of concurrent large blobs; eight small requests count as one")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show progress")
	commandline.ChoiceVar(f, &o.format, "format", "text", "format of the result", "text", "json")
	f.StringVar(&o.address, "address", cmp.Or(os.Getenv("CONTAINERD_ADDRESS"), ctd.DefaultAddress), "containerd's `socket` (environment: CONTAINERD_ADDRESS)")
	f.StringVarP(&o.namespace, "namespace", "n", cmp.Or(os.Getenv("CONTAINERD_NAMESPACE"), "default"), "containerd's namespace, its `name` (environment: CONTAINERD_NAMESPACE)")
	f.StringVar(&o.snapshotter, "snapshotter", os.Getenv("CONTAINERD_SNAPSHOTTER"), "containerd's snapshotter, its `name` (environment: CONTAINERD_SNAPSHOTTER; default: the daemon's)")
	f.BoolVar(&o.noUnpack, "no-unpack", false, "do not unpack images in containerd")
	f.BoolVar(&o.memberRecords, "member-records", false, "also make image records of members in the namespace "+ctd.KubernetesNamespace)
	return c
}

// openTarget opens the target in --to.
func (o *pullOptions) openTarget(ctx context.Context, platform platforms.Matcher) (bundle.Target, error) {
	kind, path, found := strings.Cut(o.to, ":")
	switch {
	case kind == "containerd" && !found:
		if err := system.Check(runtime.GOOS, system.Pull); err != nil && o.address == ctd.DefaultAddress {
			return nil, err
		}
		return ctd.Open(ctx, ctd.Options{
			Address:       o.address,
			Namespace:     o.namespace,
			Snapshotter:   o.snapshotter,
			NoUnpack:      o.noUnpack,
			Platform:      platform,
			MemberRecords: o.memberRecords,
		})
	case kind == "oci-layout" && path != "":
		return layout.Create(path)
	case kind == "oci-archive" && path != "":
		return layout.CreateArchive(path)
	}
	return nil, usage.Errorf("--to %q: must be containerd, oci-layout:DIR or oci-archive:FILE", o.to)
}

// run opens the target before the first request to the registry: a target that
// cannot be written to should fail at once.
func (o *pullOptions) run(ctx context.Context, arg string, stdout, stderr io.Writer) (err error) {
	started := time.Now()
	ref, err := readRef(ctx, arg)
	if err != nil {
		return err
	}
	if o.concurrent < 1 {
		return usage.Errorf("--max-concurrent %d: must be at least 1", o.concurrent)
	}
	selection, err := selectionFlags(o.platform, o.allPlatforms, o.members)
	if err != nil {
		return err
	}
	to, err := o.openTarget(ctx, selection.Platform)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	var metrics registry.Metrics
	walked, err := o.pull(ctx, to, ref, selection, &metrics, stderr)
	if err != nil {
		return err
	}
	result := newResult(ref.Reference, to, walked, &metrics, time.Since(started))
	return show(stdout, o.format, result)
}

// pull pulls the bundle into the target.
func (o *pullOptions) pull(ctx context.Context, to bundle.Target, ref lock.Ref, s bundle.Selection, metrics *registry.Metrics, stderr io.Writer) (*bundle.Walked, error) {
	b, err := o.open(ctx, to, metrics, ref)
	if err != nil {
		return nil, err
	}
	show := progress.New(stderr, o.quiet, o.format == "json")
	defer show.Stop()
	_, isDaemon := to.(*ctd.Target) // containerd keeps non-distributable layers, as its own pulls do
	walk := bundle.Options{Selection: s, OmitNonDistributable: !isDaemon, Concurrent: o.concurrent}
	return bundle.Pull(ctx, b, to, ref.String(), bundle.PullOptions{Options: walk, Progress: show})
}

// result is what --format json prints. Names of fields are an interface.
type result struct {
	Root     resultRoot     `json:"root"`
	Members  []resultMember `json:"members"`
	Requests resultRequests `json:"requests"`
	Bytes    int64          `json:"bytes"` // of bodies received
	Seconds  float64        `json:"seconds"`
	Target   string         `json:"target"`
	// NonDistributable layers were left out of a layout.
	NonDistributable []string `json:"nonDistributable,omitempty"`
}

type resultRoot struct {
	Ref       string        `json:"ref"`
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
}

func newResultRoot(ref auth.Reference, desc ocispec.Descriptor) resultRoot {
	return resultRoot{ref.String(), desc.Digest, desc.MediaType, desc.Size}
}

type resultMember struct {
	Namespace  string        `json:"namespace"`
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"mediaType"`
	Platform   string        `json:"platform"` // empty when the descriptor has none
	Size       int64         `json:"size"`
}

type resultRequests struct {
	Manifests  int64 `json:"manifests"`
	Blobs      int64 `json:"blobs"`
	Tokens     int64 `json:"tokens"`
	Challenges int64 `json:"challenges"`
	HelperRuns int64 `json:"helperRuns"`
}

// newResult returns the result of a pull. Lists are never null in JSON.
func newResult(ref auth.Reference, to bundle.Target, walked *bundle.Walked, m *registry.Metrics, took time.Duration) *result {
	r := &result{
		Root:    newResultRoot(ref, walked.Root.Descriptor),
		Members: []resultMember{},
		Requests: resultRequests{
			Manifests:  m.Manifests.Load(),
			Blobs:      m.Blobs.Load(),
			Tokens:     m.Tokens.Load(),
			Challenges: m.Challenges.Load(),
			HelperRuns: m.HelperRuns.Load(),
		},
		Bytes:            m.Bytes.Load(),
		Seconds:          took.Seconds(),
		Target:           to.Name(),
		NonDistributable: walked.NonDistributable,
	}
	for _, n := range walked.MemberNodes() {
		r.Members = append(r.Members, resultMember{
			n.Namespace, n.Repository.String(), n.Digest, n.MediaType, bundle.PlatformOf(n.Platform), n.Size,
		})
	}
	return r
}

func (r *result) lines() terminal.Table {
	lines := terminal.Table{terminal.Result(bundle.WithDigest(r.Root.Ref, r.Root.Digest))}
	for _, m := range r.Members {
		lines = append(lines, terminal.Line(terminal.Plain, strings.TrimRight(fmt.Sprintf("  %s@%s %s", m.Repository, m.Digest, m.Platform), " ")))
	}
	last := fmt.Sprintf("%s in %.1f s, to %s", amount.Bytes(r.Bytes), r.Seconds, r.Target)
	if len(r.Members) > 0 {
		last = amount.Count(len(r.Members), "member") + ", " + last
	}
	for _, layer := range r.NonDistributable {
		lines = append(lines, terminal.Line(terminal.Warning, "  left out, not to be distributed: "+layer))
	}
	return append(lines, terminal.Line(terminal.Plain, last))
}
