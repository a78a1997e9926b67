package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// Transport is an [http.RoundTripper] that follows child namespaces for a
// client of the distribution API. It may be used by any number of goroutines.
type Transport struct {
	base       http.RoundTripper
	tls, plain *Finder                  // for registries of https, and of http
	own        *locations.Cache         // nil: it was given
	supporting flight.Map[string, bool] // what registries say of themselves, by host
	pushed     flight.Map[string, bool] // where the client pushes, as host and path
}

// New returns a transport over another one, for one client. Members are asked as
// the options of registries say, with the scheme of the client's request, so that
// the client sees what their credentials may read. Without Options.Locations they
// are remembered in memory, in 64 MiB at most.
func New(base http.RoundTripper, registries registry.Options, options Options) (*Transport, error) {
	t := &Transport{base: base}
	if options.Locations == nil {
		var err error
		if t.own, err = locations.OpenInMemory(locations.Options{}); err != nil {
			return nil, err
		}
		options.Locations = t.own
	}
	if options.Memory == nil {
		options.Memory = NewMemory(DefaultMemory)
	}
	t.tls = NewFinder(registry.New(registries), options)
	registries.PlainHTTP = true
	t.plain = NewFinder(registry.New(registries), options)
	return t, nil
}

// finder is the one for a request.
func (t *Transport) finder(r *http.Request) *Finder {
	if r.URL.Scheme == "http" {
		return t.plain
	}
	return t.tls
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	q, ok := read(r)
	if begun, is := uploadTo(r); is {
		t.pushed.Put(begun, true, pushTime)
	}
	switch {
	case !ok, q.kind == Tags:
	case r.Method == http.MethodGet, q.head:
		return t.get(r, q)
	case r.Method == http.MethodPut && q.kind == Manifests:
		return t.put(r, q)
	case r.Method == http.MethodDelete && q.kind == Manifests:
		return t.delete(r, q)
	}
	return t.base.RoundTrip(r)
}

// read reads a request about content of a repository. What is wrong with others
// is for the registry to say.
func read(r *http.Request) (Request, bool) {
	q, err := Read(r)
	if err == nil {
		q.repository, err = auth.ParseRepository(r.URL.Host + "/" + q.name)
	}
	return q, err == nil
}

// pushTime is for how long a client is taken to push where it has begun an upload.
const pushTime = 10 * time.Minute

// uploadTo returns the repository, as host and name, to which a request begins an
// upload.
func uploadTo(r *http.Request) (string, bool) {
	path, ok := strings.CutSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/blobs/uploads")
	return r.URL.Host + strings.TrimPrefix(path, "/v2"), ok && r.Method == http.MethodPost
}

// get answers a request for content. One that only asks whether content is there,
// as clients do before they push it, is not searched for.
func (t *Transport) get(r *http.Request, q Request) (*http.Response, error) {
	if q.head {
		_, pushes := t.pushed.Get(q.repository.String())
		q.known = pushes || q.kind == Blobs
	}
	o := &origin{request: r, parsed: q, base: t.base, carriers: lacksCarriers(r.Header)}
	ctx := context.WithValue(auth.Paced(r.Context()), originKey{}, o)
	f := t.finder(r)
	ctx, end := withBudget(ctx, q.tenant(), f.options.Timeout)
	resp, err := f.find(ctx, q)
	if err == nil && o.carriers && images.IsManifestType(registry.MediaType(resp.Header.Get("Content-Type"))) {
		end()
		if err = resp.Body.Close(); err != nil {
			return nil, err
		}
		return t.base.RoundTrip(r) // it is no carrier, and the registry may have something else
	}
	if err != nil {
		resp, err = t.refuse(ctx, r, q, err)
	}
	if err != nil {
		end()
		return nil, err
	}
	return complete(r, finish(ctx, q, resp, end)), nil
}

// refuse is the answer that an error is: the registry's own as it came, or why
// there is none.
func (t *Transport) refuse(ctx context.Context, r *http.Request, q Request, err error) (*http.Response, error) {
	if came, ok := errors.AsType[*cameError](err); ok {
		return came.answer, came.err
	}
	return complete(r, t.finder(r).Refuse(ctx, q, err)), nil
}

// complete gives an answer what those of [http.Transport] have.
func complete(r *http.Request, resp *http.Response) *http.Response {
	resp.Request = r
	resp.Status = fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.ProtoMajor == 0 {
		resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/1.1", 1, 1
	}
	return resp
}

// CloseIdleConnections closes the connections that nobody uses.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	t.tls.upstream.registries.CloseIdleConnections()
	t.plain.upstream.registries.CloseIdleConnections()
}

// Close ends what goes on besides the requests. Afterwards nothing is known of
// members.
func (t *Transport) Close() error {
	t.tls.Close()
	t.plain.Close()
	if t.own == nil {
		return nil
	}
	return t.own.Close()
}

// origin asks the repository of a request in the way of the request itself, with
// what that shows. Nothing else is asked so.
type origin struct {
	request  *http.Request
	parsed   Request
	base     http.RoundTripper
	carriers bool // are accepted, too
}

// lacksCarriers reports whether a request accepts indexes and not what carries
// them.
func lacksCarriers(header http.Header) bool {
	accepted := strings.Join(header.Values("Accept"), ",")
	return strings.Contains(accepted, ocispec.MediaTypeImageIndex) && !strings.Contains(accepted, ocispec.MediaTypeImageManifest) && !strings.Contains(accepted, "*/*")
}

type originKey struct{}

// originOf is the origin when a repository is the request's own.
func originOf(ctx context.Context, repository auth.Repository) *origin {
	if o, ok := ctx.Value(originKey{}).(*origin); ok && o.parsed.repository == repository {
		return o
	}
	return nil
}

// do asks as the request does. The answer is content, or a redirect where one may
// be handed on; whatever else came is a [cameError].
func (o *origin) do(ctx context.Context, q query) (*http.Response, error) {
	asking, cancel := context.WithCancel(ctx)
	r := o.request.Clone(context.WithValue(asking, ownKey{}, true))
	r.Method = q.method
	if path := o.parsed.path(q.kind, q.reference); path != r.URL.Path {
		r.URL.Path, r.URL.RawQuery = path, q.values.Encode()
		r.Header = o.credentials()
		r.Header.Set("Accept", q.accept)
	}
	if q.kind != Blobs {
		r.Header.Set("Accept-Encoding", "identity") // what is verified is what the digest is of
	}
	if q.kind == Manifests && o.carriers {
		r.Header.Add("Accept", ocispec.MediaTypeImageManifest)
	}
	resp, err := o.base.RoundTrip(r)
	if err != nil {
		cancel()
		return nil, &cameError{err: err}
	}
	resp.Request, resp.Body = r, &body{resp.Body, cancel}
	redirect := slices.Contains(redirects, resp.StatusCode) && q.pass
	if code := resp.StatusCode; code == http.StatusOK || code == http.StatusPartialContent || redirect {
		return resp, nil
	}
	return nil, came(resp)
}

// ownKey marks the request of an origin.
type ownKey struct{}

// isOwn reports whether an answer is one of an origin, whose headers the client
// gets as they came.
func isOwn(resp *http.Response) bool {
	return resp.Request != nil && resp.Request.Context().Value(ownKey{}) != nil
}

// hopByHop are the headers of one connection (RFC 9110, section 7.6.1).
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// credentials are the headers with which another question of the same client
// has to be asked.
func (o *origin) credentials() http.Header {
	header := o.request.Header.Clone()
	for _, name := range []string{"Accept", "Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		header.Del(name)
	}
	return header
}

// maxCame bounds what is kept of an answer that may have to be handed on.
const maxCame = 64 << 10

// cameError is an answer that is no content, for the client to see as it came
// unless the content is elsewhere; or why none came.
type cameError struct {
	answer *http.Response
	err    error
}

func came(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxCame))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return &cameError{err: err}
	}
	resp.Header = resp.Header.Clone()
	if resp.Request.Method != http.MethodHead {
		resp.Header.Set("Content-Length", strconv.Itoa(len(data)))
		resp.ContentLength = int64(len(data))
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return &cameError{answer: resp}
}

func (e *cameError) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return (&registry.StatusError{Host: e.answer.Request.URL.Host, Code: e.answer.StatusCode}).Error()
}

// Unwrap gives the error its class.
func (e *cameError) Unwrap() error {
	if e.answer != nil && e.answer.StatusCode == http.StatusNotFound {
		return errdefs.ErrNotFound
	}
	return e.err
}

// Busy reports whether the registry wants to be asked less.
func (e *cameError) Busy() bool {
	return e.answer != nil && e.answer.StatusCode == http.StatusTooManyRequests
}
