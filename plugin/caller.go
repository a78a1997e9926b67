package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"github.com/containerd/containerd/v2/core/streaming"
	tstreaming "github.com/containerd/containerd/v2/core/transfer/streaming"
	"github.com/containerd/containerd/v2/pkg/httpdbg"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// callbackTime is how long a client may take to answer for a credential. A
// client whose own lookup fails never answers.
const callbackTime = 30 * time.Second

// caller is what the source of a pull says about registries.
type caller struct {
	reference   string
	settings    *transfertypes.RegistryResolver
	sent        *sent       // nil: the source is in this process
	credentials auth.Source // nil: the client sent none
}

// marshaler is a source that can describe itself, as containerd's can.
type marshaler interface {
	MarshalAny(context.Context, streaming.StreamCreator) (typeurl.Any, error)
}

// callerOf reads a source; nil when it is not a registry. The client answers
// until ctx ends.
func callerOf(ctx context.Context, source marshaler) (*caller, error) {
	pipes := pipes{}
	described, err := source.MarshalAny(ctx, pipes)
	if err != nil {
		return nil, err
	}
	var registry transfertypes.OCIRegistry
	if !typeurl.Is(described, &registry) {
		return nil, nil
	}
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
	if c.sent, _ = ctx.Value(sentKey{}).(*sent); c.sent != nil {
		c.settings.HostDir, c.settings.DefaultScheme, c.settings.HttpDebug = c.sent.hostDir, c.sent.scheme, c.sent.debug
	}
	return c, nil
}

// follows reports whether the source may be followed: not when others than root
// can change where its registry is, because the node's credentials would go
// there, too. containerd then pulls as without the plugin.
func (c *caller) follows(ctx context.Context) (auth.Repository, bool) {
	repository, err := oci.RepositoryOf(c.reference)
	if err != nil { // it cannot be nested
		return auth.Repository{}, false
	}
	if c.settings.HostDir == "" {
		return repository, true
	}
	if err = config.CheckHosts("", c.settings.HostDir, repository.Host()); err != nil {
		log.G(ctx).WithError(err).WithField("reference", c.reference).Error("child namespaces are not followed")
	}
	return repository, err == nil
}

// registries returns a client of registries with the caller's settings, and
// with the node's credentials where the caller sent none.
func (c *caller) registries(ctx context.Context, settings *settings) (*registry.Client, error) {
	debug, err := c.debug(ctx)
	if err != nil {
		return nil, err
	}
	var credentials auth.Sources
	if c.credentials != nil {
		credentials = append(credentials, c.credentials)
	}
	header := http.Header{}
	for name, value := range c.settings.Headers {
		header.Set(name, value)
	}
	return registry.New(registry.Options{
		Credentials:  append(credentials, settings.node),
		HostsDir:     c.settings.HostDir,
		PlainHTTP:    c.settings.DefaultScheme == "http",
		Realms:       settings.Realms,
		UserAgent:    cmp.Or(header.Get("User-Agent"), "containerd/"+version.Version),
		Header:       header,
		Lenient:      true,
		UpdateClient: debug,
	}), nil
}

// debug logs requests when the caller asks for it, as containerd does; nil when
// it does not.
func (c *caller) debug(ctx context.Context) (func(*http.Client) error, error) {
	mode := c.settings.HttpDebug
	if mode == transfertypes.HTTPDebug_DISABLED {
		return nil, nil
	}
	var to io.WriteCloser = log.G(ctx).Writer()
	if c.sent != nil && c.sent.logs != "" {
		stream, err := c.sent.streams.Get(ctx, c.sent.logs)
		if err != nil {
			return nil, fmt.Errorf("the stream for the log of requests: %w", err)
		}
		to = tstreaming.WriteByteStream(ctx, stream)
	}
	context.AfterFunc(ctx, func() { _ = to.Close() }) // there is no reader any more
	return func(client *http.Client) error {
		if mode != transfertypes.HTTPDebug_TRACE {
			client.Transport = shownSecrets{client.Transport}
			httpdbg.DumpRequests(ctx, client, &lockedWriter{to: to})
			client.Transport = hiddenSecrets{client.Transport}
		}
		if mode != transfertypes.HTTPDebug_DEBUG {
			httpdbg.DumpTraces(ctx, client)
		}
		return nil
	}, nil
}

type (
	// hiddenSecrets removes the Authorization header before requests are
	// logged, and shownSecrets, below it, restores it: the credential may be
	// the node's, and the log is read by a client.
	hiddenSecrets struct{ next http.RoundTripper }
	shownSecrets  struct{ next http.RoundTripper }
	secretKey     struct{}
)

// RoundTrip implements [http.RoundTripper].
func (h hiddenSecrets) RoundTrip(req *http.Request) (*http.Response, error) {
	secret := req.Header.Get("Authorization")
	if secret == "" {
		return h.next.RoundTrip(req)
	}
	req = req.Clone(context.WithValue(req.Context(), secretKey{}, secret))
	req.Header.Set("Authorization", "[secret]")
	return h.next.RoundTrip(req)
}

// RoundTrip implements [http.RoundTripper].
func (s shownSecrets) RoundTrip(req *http.Request) (*http.Response, error) {
	if secret, ok := req.Context().Value(secretKey{}).(string); ok {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", secret)
	}
	return s.next.RoundTrip(req)
}

// lockedWriter allows one write at a time: requests for members are concurrent.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements [io.Writer].
func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// callback is the [auth.Source] of a caller. It has one credential for all
// repositories of a registry, and is asked for it once.
type callback struct {
	reference string
	stream    streaming.Stream

	mu      sync.Mutex // one request at a time
	answers map[string]auth.Credential
	broken  error // a request was not answered: a late answer would be mistaken for that to the next one
}

// Lookup implements [auth.Source].
func (c *callback) Lookup(ctx context.Context, repository auth.Repository) (auth.Credential, error) {
	if auth.IsRedirected(ctx) { // whatever host it is asked about, many a client gives the one that it has
		return auth.Credential{Source: "none of the client that asked for the pull: its own is for the registry that redirects there"}, nil
	}
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
		credential, err := c.request(host)
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

// request asks the client for the credential for a host.
func (c *callback) request(host string) (auth.Credential, error) {
	question, err := typeurl.MarshalAny(&transfertypes.AuthRequest{Host: host, Reference: c.reference})
	if err != nil {
		return auth.Credential{}, err
	}
	if err = c.stream.Send(question); err != nil {
		return auth.Credential{}, err
	}
	received, err := c.stream.Recv()
	if err != nil {
		return auth.Credential{}, fmt.Errorf("credential for %s: %w", host, err)
	}
	var a transfertypes.AuthResponse
	if err := typeurl.UnmarshalTo(received, &a); err != nil {
		return auth.Credential{}, fmt.Errorf("credential for %s: the client that asked for the pull answered something else", host)
	}
	credential := auth.Credential{Source: "of the client that asked for the pull"}
	switch {
	case a.AuthType == transfertypes.AuthType_HEADER:
		return auth.Credential{}, fmt.Errorf("credential for %s: the client that asked for the pull gives a header in place of a user or a token", host)
	case a.Secret == "":
		credential.Source = "none of the client that asked for the pull"
	case a.AuthType == transfertypes.AuthType_CREDENTIALS && a.Username != "":
		credential = auth.UserCredential(a.Username, a.Secret, credential.Source)
	default:
		credential.IdentityToken = auth.Secret(a.Secret)
	}
	return credential, nil
}

// pipes are the near ends of streams within this process, by id. They are made
// before anything else happens.
type pipes map[string]streaming.Stream

// Create implements [streaming.StreamCreator].
func (p pipes) Create(ctx context.Context, id string) (streaming.Stream, error) {
	there, back := make(chan typeurl.Any), make(chan typeurl.Any)
	given := make(chan struct{})
	p[id] = &pipe{ctx: ctx, send: there, recv: back, given: given}
	return &farPipe{pipe: pipe{ctx: ctx, send: back, recv: there}, gives: given}, nil
}

// farPipe is the end at which containerd's code answers requests. When it
// cannot answer, it logs why and waits for the next one.
type farPipe struct {
	pipe
	gives chan struct{}
	owes  bool // an answer
	gave  bool // up
}

// Recv implements [streaming.Stream].
func (p *farPipe) Recv() (typeurl.Any, error) {
	if p.owes && !p.gave {
		p.gave = true
		close(p.gives)
	}
	a, err := p.pipe.Recv()
	p.owes = err == nil
	return a, err
}

// Send implements [streaming.Stream].
func (p *farPipe) Send(a typeurl.Any) error {
	p.owes = false
	return p.pipe.Send(a)
}

// errGivenUp is the error for a request that the other end could not answer.
var errGivenUp = errors.New("the client that asked for the pull could not look it up; see containerd's log, or its own")

// pipe is one end of a stream, which ends with its context.
type pipe struct {
	ctx   context.Context
	send  chan<- typeurl.Any
	recv  <-chan typeurl.Any
	given <-chan struct{} // closed when the other end gives up
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
	case <-p.given:
		return nil, errGivenUp
	case <-p.ctx.Done():
		return nil, io.EOF
	}
}

// Close implements [streaming.Stream].
func (p *pipe) Close() error { return nil }
