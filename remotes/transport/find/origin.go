package find

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/containerd/containerd/v2/core/images"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
)

// Origin asks the repository of a request in the way of the request itself, with
// what that shows. Nothing else is asked so.
type Origin struct {
	request  *http.Request
	parsed   Request
	base     http.RoundTripper
	carriers bool // are accepted, too
	writes   bool // base is not asked for content
}

// lacksCarriers reports whether a request accepts indexes and not what carries
// them.
func lacksCarriers(header http.Header) bool {
	accepted := strings.Join(header.Values("Accept"), ",")
	return strings.Contains(accepted, ocispec.MediaTypeImageIndex) && !strings.Contains(accepted, ocispec.MediaTypeImageManifest) && !strings.Contains(accepted, "*/*")
}

// NewOrigin is that of a request, which is asked through base.
func NewOrigin(r *http.Request, q Request, base http.RoundTripper) *Origin {
	return &Origin{request: r, parsed: q, base: base}
}

// ForWrites is the origin when its base is for what is written alone: content of
// its repository is asked for as that of members.
func (o *Origin) ForWrites() *Origin {
	o.writes = true
	return o
}

// Begin begins to answer the request of an origin: what is asked in the context
// about its repository is asked in its way, until the time for an answer is over
// or end is called.
func (f *Finder) Begin(o *Origin) (ctx context.Context, end func()) {
	ctx = auth.Paced(o.request.Context())
	if !o.writes {
		ctx = context.WithValue(ctx, originKey{}, o)
	}
	return withBudget(ctx, o.parsed.tenant(), f.options.Timeout)
}

// Pass answers the request of an origin that asks for content: with what its
// repository answers as it comes, or with what a member has.
func (f *Finder) Pass(o *Origin) (*http.Response, error) {
	o.carriers = lacksCarriers(o.request.Header)
	ctx, end := f.Begin(o)
	resp, err := f.find(ctx, o.parsed)
	if err == nil && o.carriers && images.IsManifestType(registry.MediaType(resp.Header.Get("Content-Type"))) {
		end()
		if err = resp.Body.Close(); err != nil {
			return nil, err
		}
		return o.base.RoundTrip(o.request) // it is no carrier, and the registry may have something else
	}
	if err != nil {
		resp, err = f.RefuseTo(ctx, o, err)
	}
	if err != nil {
		end()
		return nil, err
	}
	return answers.Complete(o.request, finish(ctx, o.parsed, resp, end)), nil
}

// RefuseTo is the answer that an error is to the request of an origin: the
// registry's own as it came, or why there is none.
func (f *Finder) RefuseTo(ctx context.Context, o *Origin, err error) (*http.Response, error) {
	if came, ok := errors.AsType[*registry.CameError](err); ok && !isMemoryError(context.Cause(ctx)) {
		return came.Answer, came.Err
	}
	return answers.Complete(o.request, f.Refuse(ctx, o.parsed, err)), nil
}

type originKey struct{}

// originOf is the origin when a repository is the request's own.
func originOf(ctx context.Context, repository auth.Repository) *Origin {
	if o, ok := ctx.Value(originKey{}).(*Origin); ok && o.parsed.repository == repository {
		return o
	}
	return nil
}

// clone is the request with another method, and without its body: that of a push
// is the index, and has been read.
func (o *Origin) clone(ctx context.Context, method string) *http.Request {
	r := o.request.Clone(ctx)
	r.Method, r.Body, r.GetBody, r.ContentLength, r.TransferEncoding = method, http.NoBody, nil, 0, nil
	return r
}

// do asks as the request does. The answer is content, or a redirect where one may
// be handed on; whatever else came is a [registry.CameError].
func (o *Origin) do(ctx context.Context, q query) (*http.Response, error) {
	asking, cancel := context.WithCancel(ctx)
	r := o.clone(context.WithValue(asking, ownKey{}, true), q.method)
	if path := o.parsed.Path(q.kind, q.reference); path != r.URL.Path {
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
		return nil, &registry.CameError{Err: err}
	}
	resp.Request, resp.Body = r, &body{resp.Body, cancel}
	redirect := slices.Contains(redirects, resp.StatusCode) && q.pass
	if code := resp.StatusCode; code == http.StatusOK || code == http.StatusPartialContent || redirect {
		return resp, nil
	}
	return nil, registry.Came(resp)
}

// ownKey marks the request of an origin.
type ownKey struct{}

// isOwn reports whether an answer is one of an origin, whose headers the client
// gets as they came.
func isOwn(resp *http.Response) bool {
	return resp.Request != nil && resp.Request.Context().Value(ownKey{}) != nil
}

// credentials are the headers with which another question of the same client
// has to be asked, which has no body.
func (o *Origin) credentials() http.Header {
	header := o.request.Header.Clone()
	for _, name := range []string{"Accept", "Content-Type", "Expect", "Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		header.Del(name)
	}
	return header
}

// Finish completes the answer to the request of an origin, which ends with its
// body.
func Finish(ctx context.Context, o *Origin, resp *http.Response, end func()) *http.Response {
	return answers.Complete(o.request, finish(ctx, o.parsed, resp, end))
}

// PassOn passes the request on with a body that was read.
func (o *Origin) PassOn(ctx context.Context, body io.ReadCloser, size int64) (*http.Response, error) {
	r := o.request.Clone(ctx)
	r.Body, r.ContentLength, r.GetBody = body, size, nil
	return o.exchange(r)
}

// Send asks the registry something else with what the request shows; another
// host, to which the registry leads, without. A body is sent as it comes.
func (o *Origin) Send(ctx context.Context, method string, u *url.URL, header http.Header, body io.Reader, size int64) (*http.Response, error) {
	r := o.clone(ctx, method)
	r.URL, r.Header = o.request.URL.ResolveReference(u), o.credentials()
	for name, v := range header {
		r.Header[name] = v
	}
	if r.URL.Host != o.request.URL.Host || r.URL.Scheme != o.request.URL.Scheme {
		r.Host = ""
		r.Header.Del("Authorization")
		r.Header.Del("Cookie")
	}
	if size > 0 {
		r.Body, r.ContentLength = io.NopCloser(body), size
	}
	return o.exchange(r)
}

// exchange sends a request. Its error is the client's.
func (o *Origin) exchange(r *http.Request) (*http.Response, error) {
	resp, err := o.base.RoundTrip(r)
	if err != nil {
		return nil, &registry.CameError{Err: err}
	}
	resp.Request = r
	return resp, nil
}
