package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// mount is a blob's way from one repository of a registry to another.
type mount struct{ from, to auth.Repository }

// Pusher implements remotes.Resolver: a pusher to one repository, with a token
// of its own for pushing. A reference by tag tags what is pushed; one by tag
// and digest tags what has that digest. Blobs are mounted from the repositories
// of the same registry that a descriptor's annotation
// "containerd.io/distribution.source.<registry>" names, as containerd does;
// where that is refused they are uploaded. Errors: as those of a fetcher.
func (c *Client) Pusher(_ context.Context, ref string) (remotes.Pusher, error) {
	repository, err := oci.RepositoryOf(ref)
	if err != nil {
		return nil, err
	}
	return &pusher{client: c, ref: ref, repository: repository}, nil
}

type pusher struct {
	client     *Client
	ref        string
	repository auth.Repository
	turns      oci.Turns
}

// maxMounts bounds the repositories that are tried for one blob.
const maxMounts = 2

// Push implements remotes.Pusher. It waits for another Push of the same content
// by this pusher.
func (p *pusher) Push(ctx context.Context, desc ocispec.Descriptor) (content.Writer, error) {
	if err := desc.Digest.Validate(); err != nil { // it becomes part of paths and queries
		return nil, fmt.Errorf("%s: digest %s: %w", p.repository, sanitize.Quote(string(desc.Digest)), err)
	}
	return p.turns.Push(ctx, desc, func() (content.Writer, error) { return p.write(ctx, desc) })
}

// write writes a manifest or index, and has it listed among the referrers of
// its subject, if it has one.
func (p *pusher) write(ctx context.Context, desc ocispec.Descriptor) (content.Writer, error) {
	if !oci.IsManifestOrIndex(desc.MediaType) || desc.Size > oci.MaxManifest {
		return p.mountOrUpload(ctx, desc, new(pushState))
	}
	one := new(pushState)
	w, err := p.mountOrUpload(ctx, desc, one)
	if err != nil {
		return nil, err
	}
	return &referringWriter{Writer: w, client: p.client, at: p.repository, desc: desc, answer: &one.answer}, nil
}

// pushState is what the requests of one push share, even when it begins anew.
type pushState struct {
	tries  pushTries
	answer manifestAnswer
}

func (p *pusher) mountOrUpload(ctx context.Context, desc ocispec.Descriptor, one *pushState) (content.Writer, error) {
	ctx = auth.Sending(ctx)
	sources := p.sources(desc)
	desc.Annotations = nil // registries do not use them
	for _, from := range sources[:min(len(sources), maxMounts)] {
		if refused, _ := p.client.unmountable.Get(mount{from, p.repository}); refused {
			continue
		}
		w, err := p.push(ctx, one, desc, from)
		if !isRefusedMount(err) {
			return w, err
		}
		p.client.unmountable.Put(mount{from, p.repository}, true, flight.Forever)
	}
	return p.push(ctx, one, desc)
}

// isRefusedMount reports whether a mount was refused. A token endpoint may answer
// 401 to two scopes where it gives a token for each, and a registry 404 to hide
// whether the source exists. If the answer was about the target, the upload
// will be refused as well. An answer with Retry-After is not a refusal: the
// upload would have to wait, too.
func isRefusedMount(err error) bool {
	var denied *auth.DeniedError
	var status remoteerrors.ErrUnexpectedStatus
	return errors.As(err, &denied) || errors.As(err, &status) && status.StatusCode >= 400 && !retry.IsSpent(err)
}

// sources are the repositories that a blob could be mounted from, those with
// the most components in common first, as in containerd.
func (p *pusher) sources(desc ocispec.Descriptor) []auth.Repository {
	if oci.IsManifestOrIndex(desc.MediaType) {
		return nil
	}
	var sources []auth.Repository
	for _, name := range strings.Split(desc.Annotations[oci.SourceLabel(p.repository)], ",") {
		from, err := auth.ParseRepository(p.repository.Host() + "/" + name)
		if err == nil && from != p.repository && !slices.Contains(sources, from) {
			sources = append(sources, from)
		}
	}
	slices.SortStableFunc(sources, func(a, b auth.Repository) int {
		return cmp.Compare(commonComponents(b, p.repository), commonComponents(a, p.repository))
	})
	return sources
}

// commonComponents counts the leading components that two names have in common.
func commonComponents(a, b auth.Repository) int {
	n, other := 0, strings.Split(b.Name(), "/")
	for i, component := range strings.Split(a.Name(), "/") {
		if i == len(other) || component != other[i] {
			break
		}
		n++
	}
	return n
}

// push pushes with containerd's pusher, mounting from one repository or none.
func (p *pusher) push(ctx context.Context, one *pushState, desc ocispec.Descriptor, from ...auth.Repository) (content.Writer, error) {
	w, hosts, err := p.open(ctx, one, desc, from...)
	if err != nil {
		return nil, err
	}
	return &uploadWriter{Writer: w, ctx: ctx, hosts: hosts, tries: &one.tries.put, reopen: func() (content.Writer, error) {
		w, _, err := p.open(ctx, one, desc)
		return w, err
	}}, nil
}

func (p *pusher) open(ctx context.Context, one *pushState, desc ocispec.Descriptor, from ...auth.Repository) (content.Writer, []Host, error) {
	endpoints, err := p.client.endpointsOf(p.repository.Host())
	if err != nil {
		return nil, nil, err
	}
	hosts := make([]Host, len(endpoints))
	for i, e := range endpoints {
		hosts[i] = e.hostWith(p.repository.Name(), func(to auth.Repository) *auth.Authorizer {
			mounted := make([]auth.Repository, len(from))
			for i, r := range from {
				mounted[i] = e.registry.Repository(e.nameOf(r.Name()))
			}
			return e.registry.PushAuthorizer(to, mounted...)
		})
		hosts[i] = one.answer.at(hosts[i].retriedIn(&one.tries, true))
		hosts[i].RegistryHost.Authorizer = closingAuthorizer{hosts[i].Authorizer}
	}
	pusher, err := p.client.resolverAt(hosts).Pusher(ctx, p.ref)
	if err != nil {
		return nil, nil, err
	}
	w, err := pusher.Push(ctx, oci.MountFrom(desc, from...))
	if err != nil {
		return nil, nil, explain(ctx, hosts, err)
	}
	return w, hosts, nil
}

// closingAuthorizer closes the body of a request that it cannot sign, as
// clients do with requests that they cannot send: docker's writer waits until
// its pipe is read or closed, even when its context ends.
type closingAuthorizer struct{ *auth.Authorizer }

// Authorize implements docker.Authorizer.
func (a closingAuthorizer) Authorize(ctx context.Context, req *http.Request) error {
	err := a.Authorizer.Authorize(ctx, req)
	if err != nil && req.Body != nil {
		_ = req.Body.Close() // of a pipe
	}
	return err
}
