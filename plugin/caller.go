package plugin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"github.com/containerd/containerd/v2/core/streaming"
	"github.com/containerd/containerd/v2/pkg/httpdbg"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// callbackTime is how long a caller may take to answer for a credential. One
// whose own lookup fails never answers.
const callbackTime = 30 * time.Second

// caller is what the source of a pull says about registries.
type caller struct {
	reference   string
	settings    *transfertypes.RegistryResolver
	credentials auth.Source // nil: it brought none
}

// marshaler is a source that can describe itself, as containerd's can.
type marshaler interface {
	MarshalAny(context.Context, streaming.StreamCreator) (typeurl.Any, error)
}

// callerOf reads a source. The caller answers until ctx ends.
func callerOf(ctx context.Context, source marshaler) (*caller, error) {
	pipes := pipes{}
	described, err := source.MarshalAny(ctx, pipes)
	if err != nil {
		return nil, err
	}
	var registry transfertypes.OCIRegistry
	if err := typeurl.UnmarshalTo(described, &registry); err != nil {
		return nil, err
	}
	c := &caller{reference: registry.Reference, settings: registry.Resolver}
	if c.settings == nil {
		c.settings = &transfertypes.RegistryResolver{}
	}
	if stream, ok := pipes[c.settings.AuthStream]; ok {
		c.credentials = &callback{reference: c.reference, stream: stream, answers: map[string]auth.Credential{}}
	}
	if sent, ok := ctx.Value(sourceKey{}).(*transfertypes.OCIRegistry); ok && sent.Resolver != nil && sent.Reference == c.reference {
		c.settings.HostDir, c.settings.HttpDebug = sent.Resolver.HostDir, sent.Resolver.HttpDebug
	}
	return c, nil
}

// registries asks the registries as the caller would, with the node's
// credentials where it brought none.
func (c *caller) registries(ctx context.Context, settings *config.Plugin) *nested.Registries {
	var credentials auth.Sources
	if c.credentials != nil {
		credentials = append(credentials, c.credentials)
	}
	header := http.Header{}
	for name, value := range c.settings.Headers {
		header.Set(name, value)
	}
	return nested.NewRegistries(nested.RegistriesOptions{
		Credentials:  append(credentials, settings.Stores(nil)),
		HostsDir:     c.settings.HostDir,
		PlainHTTP:    c.settings.DefaultScheme == "http",
		Realms:       settings.Realms,
		UserAgent:    "containerd/" + version.Version,
		Header:       header,
		Lenient:      true,
		UpdateClient: c.debug(ctx),
	})
}

// debug logs requests when the caller asks for it, as containerd does.
func (c *caller) debug(ctx context.Context) func(*http.Client) error {
	return func(client *http.Client) error {
		mode := c.settings.HttpDebug
		if mode == transfertypes.HTTPDebug_DEBUG || mode == transfertypes.HTTPDebug_BOTH {
			httpdbg.DumpRequests(ctx, client, log.G(ctx).Writer())
		}
		if mode == transfertypes.HTTPDebug_TRACE || mode == transfertypes.HTTPDebug_BOTH {
			httpdbg.DumpTraces(ctx, client)
		}
		return nil
	}
}

// callback is the [auth.Source] of a caller, which has one credential for all
// repositories of a registry and is asked for it once.
type callback struct {
	reference string
	stream    streaming.Stream

	mu      sync.Mutex // one question at a time
	answers map[string]auth.Credential
	broken  error // a question was not answered: a late answer would be taken for that of the next
}

// Lookup implements [auth.Source].
func (c *callback) Lookup(ctx context.Context, repository auth.Repository) (auth.Credential, error) {
	host := repository.Host()
	if host == "docker.io" {
		host = "registry-1.docker.io" // as containerd calls it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.answers[host]; ok || c.broken != nil {
		return known, c.broken
	}
	type answer struct {
		credential auth.Credential
		err        error
	}
	answered := make(chan answer, 1)
	go func() {
		credential, err := c.ask(host)
		answered <- answer{credential, err}
	}()
	timer := time.NewTimer(callbackTime)
	defer timer.Stop()
	select {
	case a := <-answered:
		if a.err == nil {
			c.answers[host] = a.credential
		}
		return a.credential, a.err
	case <-timer.C:
		c.broken = fmt.Errorf("credential for %s: the client that asked for the pull did not answer within %s; see its log", host, callbackTime)
	case <-ctx.Done():
		c.broken = ctx.Err()
	}
	return auth.Credential{}, c.broken
}

func (c *callback) ask(host string) (auth.Credential, error) {
	question, err := typeurl.MarshalAny(&transfertypes.AuthRequest{Host: host, Reference: c.reference})
	if err != nil {
		return auth.Credential{}, err
	}
	if err = c.stream.Send(question); err != nil {
		return auth.Credential{}, err
	}
	received, err := c.stream.Recv()
	if err != nil {
		return auth.Credential{}, err
	}
	var a transfertypes.AuthResponse
	if err := typeurl.UnmarshalTo(received, &a); err != nil {
		return auth.Credential{}, fmt.Errorf("credential for %s: the client that asked for the pull answered something else", host)
	}
	credential := auth.Credential{Source: "of the client that asked for the pull"}
	switch {
	case a.Secret == "", a.AuthType == transfertypes.AuthType_HEADER: // which containerd does not send either
		credential.Source = "none of the client that asked for the pull"
	case a.AuthType == transfertypes.AuthType_CREDENTIALS && a.Username != "":
		credential.Username, credential.Password = a.Username, auth.Secret(a.Secret)
	default:
		credential.IdentityToken = auth.Secret(a.Secret)
	}
	return credential, nil
}

// pipes are the near ends of streams that do not leave the process, by id.
// They are made before anything else happens.
type pipes map[string]streaming.Stream

// Create implements [streaming.StreamCreator].
func (p pipes) Create(ctx context.Context, id string) (streaming.Stream, error) {
	there, back := make(chan typeurl.Any), make(chan typeurl.Any)
	p[id] = &pipe{ctx, there, back}
	return &pipe{ctx, back, there}, nil
}

// pipe is one end of a stream, which ends with its context.
type pipe struct {
	ctx  context.Context
	send chan<- typeurl.Any
	recv <-chan typeurl.Any
}

// Send implements [streaming.Stream].
func (p *pipe) Send(a typeurl.Any) error {
	select {
	case p.send <- a:
		return nil
	case <-p.ctx.Done():
		return io.EOF
	}
}

// Recv implements [streaming.Stream].
func (p *pipe) Recv() (typeurl.Any, error) {
	select {
	case a := <-p.recv:
		return a, nil
	case <-p.ctx.Done():
		return nil, io.EOF
	}
}

// Close implements [streaming.Stream].
func (p *pipe) Close() error { return nil }
