package nested

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// mount is a way of a blob from one repository of a registry to another.
type mount struct{ from, to auth.Repository }

// Pusher implements remotes.Resolver: a pusher to one repository, with a token
// of its own for pushing. A reference by tag tags what is pushed; one by tag
// and digest tags what has that digest. Blobs are mounted from the repositories
// of the same registry that a descriptor's annotation
// "containerd.io/distribution.source.<registry>" names, as containerd has it;
// where that is refused they are uploaded. Errors: as those of a fetcher.
func (r *Registries) Pusher(_ context.Context, ref string) (remotes.Pusher, error) {
	repository, err := RepositoryOf(ref)
	if err != nil {
		return nil, err
	}
	return &registryPusher{r, ref, repository}, nil
}

type registryPusher struct {
	registries *Registries
	ref        string
	repository auth.Repository
}

// maxMounts bounds the repositories that are tried for one blob.
const maxMounts = 2

// Push implements remotes.Pusher.
func (p *registryPusher) Push(ctx context.Context, desc ocispec.Descriptor) (content.Writer, error) {
	sources := p.sources(desc)
	desc.Annotations = nil // of no use to registries
	for _, from := range sources[:min(len(sources), maxMounts)] {
		if p.registries.isUnmountable(mount{from, p.repository}) {
			continue
		}
		w, err := p.push(ctx, desc, from)
		if !isDenied(err) {
			return w, err
		}
		p.registries.refuse(mount{from, p.repository})
	}
	return p.push(ctx, desc)
}

// sources are the repositories that a blob could be mounted from.
func (p *registryPusher) sources(desc ocispec.Descriptor) []auth.Repository {
	if isDocument(desc.MediaType) {
		return nil
	}
	var sources []auth.Repository
	for _, name := range strings.Split(desc.Annotations[sourceLabel(p.repository)], ",") {
		from, err := auth.ParseRepository(p.repository.Host() + "/" + name)
		if err == nil && from != p.repository {
			sources = append(sources, from)
		}
	}
	return sources
}

// sourceLabel is containerd's: it leaves out the port.
func sourceLabel(r auth.Repository) string {
	return labels.LabelDistributionSource + "." + (&url.URL{Host: r.Host()}).Hostname()
}

// MountFrom returns a descriptor that tells a pusher where on the pusher's
// registry the content is, too, before what it says already.
func MountFrom(desc ocispec.Descriptor, repositories ...auth.Repository) ocispec.Descriptor {
	desc.Annotations = maps.Clone(desc.Annotations)
	if desc.Annotations == nil {
		desc.Annotations = map[string]string{}
	}
	for _, r := range slices.Backward(repositories) {
		label := sourceLabel(r)
		desc.Annotations[label] = strings.TrimSuffix(r.Name()+","+desc.Annotations[label], ",")
	}
	return desc
}

// push pushes with containerd's pusher, mounting from one repository or none.
func (p *registryPusher) push(ctx context.Context, desc ocispec.Descriptor, from ...auth.Repository) (content.Writer, error) {
	endpoints, err := p.registries.endpointsOf(p.repository.Host())
	if err != nil {
		return nil, err
	}
	hosts := make([]Host, len(endpoints))
	for i, e := range endpoints {
		hosts[i] = e.hostWith(p.repository.Name(), func(to auth.Repository) *auth.Authorizer {
			mounted := make([]auth.Repository, len(from))
			for i, r := range from {
				mounted[i] = e.registry.Repository(r.Name())
			}
			return e.registry.PushAuthorizer(to, mounted...)
		})
	}
	pusher, err := p.registries.resolverAt(hosts).Pusher(ctx, p.ref)
	if err != nil {
		return nil, err
	}
	w, err := pusher.Push(ctx, MountFrom(desc, from...))
	if err != nil {
		return nil, explain(ctx, hosts, err)
	}
	return explainedWriter{w, hosts}, nil
}

// explainedWriter is docker's writer with errors that say more.
type explainedWriter struct {
	content.Writer
	hosts []Host
}

func (w explainedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	return n, w.explain(context.Background(), err)
}

func (w explainedWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	return w.explain(ctx, w.Writer.Commit(ctx, size, expected, opts...))
}

func (w explainedWriter) explain(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, content.ErrReset) {
		return err
	}
	return explain(ctx, w.hosts, err)
}

func (r *Registries) isUnmountable(m mount) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unmountable[m]
}

func (r *Registries) refuse(m mount) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unmountable[m] = true
}
