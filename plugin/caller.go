package plugin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"github.com/containerd/containerd/v2/core/streaming"
	"github.com/containerd/typeurl/v2"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// caller is what the source of a transfer says about registries.
type caller struct {
	reference string
	resolver  *transfertypes.RegistryResolver
	ask       *callback // nil: it brought no credentials
}

// marshaler is a source that can describe itself, as containerd's is.
type marshaler interface {
	MarshalAny(context.Context, streaming.StreamCreator) (typeurl.Any, error)
}

// callerOf reads a source. It answers until ctx ends.
func callerOf(ctx context.Context, source marshaler) (*caller, error) {
	streams := &pipes{}
	described, err := source.MarshalAny(ctx, streams)
	if err != nil {
		return nil, err
	}
	var r transfertypes.OCIRegistry
	if err := typeurl.UnmarshalTo(described, &r); err != nil {
		return nil, err
	}
	c := &caller{reference: r.Reference, resolver: r.Resolver}
	if c.resolver == nil {
		c.resolver = &transfertypes.RegistryResolver{}
	}
	if far := streams.named(c.resolver.AuthStream); far != nil {
		c.ask = &callback{reference: r.Reference, stream: far}
	}
	return c, nil
}

// registries asks the registries as the caller would, with the node's
// credentials where he brought none.
func (c *caller) registries(node auth.Source) *nested.Registries {
	sources := auth.Sources{}
	if c.ask != nil {
		sources = append(sources, c.ask)
	}
	header := http.Header{}
	for k, v := range c.resolver.Headers {
		header.Set(k, v)
	}
	return nested.NewRegistries(nested.RegistriesOptions{
		Credentials: append(sources, node),
		HostsDir:    c.resolver.HostDir,
		PlainHTTP:   c.resolver.DefaultScheme == "http",
	})
}

// callback is the [auth.Source] of a caller: one credential for a registry.
type callback struct {
	reference string
	stream    streaming.Stream

	mu sync.Mutex // one question at a time
}

// Lookup implements [auth.Source].
func (c *callback) Lookup(ctx context.Context, repository auth.Repository) (auth.Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	type answer struct {
		credential auth.Credential
		err        error
	}
	answered := make(chan answer, 1)
	go func() {
		credential, err := c.askFor(repository)
		answered <- answer{credential, err}
	}()
	select {
	case a := <-answered:
		return a.credential, a.err
	case <-ctx.Done():
		return auth.Credential{}, fmt.Errorf("credential for %s: the client that asked for the pull does not answer: %w", repository, ctx.Err())
	}
}

func (c *callback) askFor(repository auth.Repository) (auth.Credential, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	host := repository.Host()
	if host == "docker.io" {
		host = "registry-1.docker.io" // as containerd calls it
	}
	question, err := typeurl.MarshalAny(&transfertypes.AuthRequest{Host: host, Reference: c.reference})
	if err != nil {
		return auth.Credential{}, err
	}
	if err := c.stream.Send(question); err != nil {
		return auth.Credential{}, err
	}
	answer, err := c.stream.Recv()
	if err != nil {
		return auth.Credential{}, err
	}
	var a transfertypes.AuthResponse
	if err := typeurl.UnmarshalTo(answer, &a); err != nil {
		return auth.Credential{}, err
	}
	credential := auth.Credential{Source: "of the client that asked for the pull"}
	switch a.AuthType {
	case transfertypes.AuthType_CREDENTIALS:
		credential.Username, credential.Password = a.Username, auth.Secret(a.Secret)
	case transfertypes.AuthType_REFRESH:
		credential.IdentityToken = auth.Secret(a.Secret)
	}
	return credential, nil
}

// pipes are streams that do not leave the process.
type pipes struct {
	mu  sync.Mutex
	far map[string]streaming.Stream
}

// Create implements [streaming.StreamCreator].
func (p *pipes) Create(ctx context.Context, id string) (streaming.Stream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to, from := make(chan typeurl.Any), make(chan typeurl.Any)
	if p.far == nil {
		p.far = map[string]streaming.Stream{}
	}
	p.far[id] = &pipe{ctx, to, from}
	return &pipe{ctx, from, to}, nil
}

func (p *pipes) named(id string) streaming.Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.far[id]
}

// pipe is one end of a stream; it ends with its context.
type pipe struct {
	ctx  context.Context
	send chan<- typeurl.Any
	recv <-chan typeurl.Any
}

func (p *pipe) Send(a typeurl.Any) error {
	select {
	case p.send <- a:
		return nil
	case <-p.ctx.Done():
		return io.EOF
	}
}

func (p *pipe) Recv() (typeurl.Any, error) {
	select {
	case a := <-p.recv:
		return a, nil
	case <-p.ctx.Done():
		return nil, io.EOF
	}
}

func (p *pipe) Close() error { return nil }
