package auth

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nestedoci/nested/internal/reach"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/internal/scrub"
)

// location is what is known about where a registry is.
type location struct {
	reach atomic.Int32 // known once it was dialled
	plain atomic.Bool  // it has answered over http
}

// transport sends the requests of one registry: to the registry, and to its
// token endpoint or to where it redirects. It refuses to connect to an address
// less public than the registry's own. It judges the address that it is about
// to dial; behind a proxy only the URL can be judged. It also makes a broken
// body look like one that ended early, which containerd's fetcher resumes.
type transport struct {
	*location
	base      pools       // for the registry
	foreign   pools       // for other hosts, which get no client certificate unless it is for tokens
	verified  pools       // for those of them that get credentials although the registry's certificate is not verified
	registry  string      // host:port, as dialled
	header    http.Header // for the registry, and for its token endpoint
	scheme    string      // the scheme over which it is sent; empty: any
	realms    []string    // hosts that may be anywhere
	lenient   bool        // private addresses are allowed: nothing secret is sent there
	careful   *transport  // for content that is sent to other hosts, when this one is lenient
	forTokens bool        // it carries requests to the registry's token endpoint
	secure    bool        // the registry is spoken to over https
	dialer    *net.Dialer // for hosts other than the registry and proxies; nil: the base's
	proxy     func(*http.Request) (*url.URL, error)
}

func newTransport(base *http.Transport, origin *url.URL, options RegistryOptions, forTokens bool) *transport {
	t := &transport{
		location:  new(location),
		base:      newPools(base, options),
		foreign:   newPools(base, options),
		verified:  newPools(base, options),
		registry:  dialAddress(origin),
		header:    options.Header,
		realms:    options.Realms,
		dialer:    options.Dialer,
		proxy:     base.Proxy,
		forTokens: forTokens,
	}
	if !options.HTTPFallback {
		t.scheme = origin.Scheme
	}
	if r := reachOfName(reach.Hostname(origin)); r != reach.Unknown {
		t.observe(r)
	}
	for _, other := range []pools{t.foreign, t.verified} {
		other.each(func(h *http.Transport) {
			if c := h.TLSClientConfig; c != nil && !forTokens {
				c.Certificates, c.GetClientCertificate = nil, nil
			}
		})
	}
	t.verified.each(func(h *http.Transport) {
		if c := h.TLSClientConfig; c != nil {
			c.InsecureSkipVerify = false
		}
	})
	t.each(t.guard)
	return t
}

func (t *transport) closeIdle() {
	t.each((*http.Transport).CloseIdleConnections)
}

func (t *transport) each(change func(*http.Transport)) {
	for _, l := range []pools{t.base, t.foreign, t.verified} {
		l.each(change)
	}
}

// to chooses the pools for a request. Content is verified by its digest
// wherever it comes from. A token endpoint is known by the registry's word
// only, which is worth nothing when the registry's certificate is not verified:
// then the endpoint's certificate is verified, unless it is on the registry's
// own host or listed.
func (t *transport) to(u *url.URL) pools {
	switch {
	case dialAddress(u) == t.registry:
		return t.base
	case t.lenient || t.isListed(dialAddress(u)) || t.onRegistryHost(u):
		return t.foreign
	}
	return t.verified
}

func (t *transport) onRegistryHost(u *url.URL) bool {
	host, _, _ := net.SplitHostPort(t.registry)
	return strings.EqualFold(u.Hostname(), host)
}

// isListed reports whether a host:port is one of the realms in the
// configuration.
func (t *transport) isListed(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return slices.ContainsFunc(t.realms, func(listed string) bool {
		return strings.EqualFold(listed, address) || strings.EqualFold(strings.Trim(listed, "[]"), host)
	})
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.allowHost(req.URL); err != nil {
		if req.Body != nil { // else whoever writes to it would wait for ever
			err = errors.Join(err, req.Body.Close())
		}
		return nil, err
	}
	registry := dialAddress(req.URL) == t.registry
	if !registry && writes(req) && t.careful != nil {
		return t.upload(req)
	}
	if len(t.header) > 0 && (t.forTokens || registry && (t.scheme == "" || t.scheme == req.URL.Scheme)) {
		req = req.Clone(req.Context())
		t.setHeader(req.Header)
	}
	resp, err := t.send(req, t.to(req.URL))
	if err == nil && registry && req.URL.Scheme == "http" {
		t.plain.Store(true)
	}
	return resp, err
}

// ofRequests are headers that a request depends on.
var ofRequests = []string{"Accept", "Accept-Encoding", "Authorization", "Content-Type", "If-Range", "Range"}

// setHeader sets the registry's headers, each once: docker's resolver has a
// User-Agent of its own.
func (t *transport) setHeader(header http.Header) {
	for name, values := range t.header {
		name = http.CanonicalHeaderKey(name)
		if !slices.Contains(ofRequests, name) || header.Get(name) == "" {
			header[name] = slices.Clone(values)
		}
	}
}

// send sends a request through pools, and checks the answer.
func (t *transport) send(req *http.Request, through pools) (*http.Response, error) {
	resp, err := withStallLimit(req, func(req *http.Request) (*http.Response, error) {
		return through.forRequest(req).RoundTrip(t.throughProxy(withQuery(req)))
	})
	if err != nil {
		return nil, scrub.Error(err)
	}
	through.answered(req, resp)
	scrub.Response(req, t.header, resp)
	if err := errors.Join(checkRange(req, resp), checkLocation(req, resp)); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		resp.Body = unwanted{resp.Body}
	}
	resp.Body = resumable{resp.Body, req.Context()}
	return resp, nil
}

// writes reports whether a request changes something where it goes, if only by
// ending an upload there.
func writes(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody || req.Method != "" && req.Method != http.MethodGet && req.Method != http.MethodHead
}

// upload sends content to where a registry wants it: never over http when the
// registry itself uses https, and never to an address less public than its own.
func (t *transport) upload(req *http.Request) (*http.Response, error) {
	if t.secure && req.URL.Scheme != "https" {
		err := refuse("refused to send content to %s over http: the registry wants it there", req.URL.Host)
		if req.Body != nil {
			err = errors.Join(err, req.Body.Close())
		}
		return nil, err
	}
	return t.careful.RoundTrip(req)
}

// checkRange refuses a partial answer that does not begin where the request
// said: appended to what has arrived it would corrupt the content.
func checkRange(req *http.Request, resp *http.Response) error {
	requested, ok := strings.CutPrefix(req.Header.Get("Range"), "bytes=")
	if !ok || resp.StatusCode != http.StatusPartialContent {
		return nil
	}
	start, _, _ := strings.Cut(requested, "-")
	if start == "" || strings.Contains(requested, ",") {
		return nil // counted from the end, or several ranges: nothing is appended to
	}
	if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, "bytes "+start+"-") {
		return refuse("asked %s for bytes from %s, got %.64q", req.URL.Host, start, got)
	}
	return nil
}

// resumable is a body that reports connection errors, and errors of an HTTP/2
// stream, as io.ErrUnexpectedEOF.
type resumable struct {
	io.ReadCloser
	ctx context.Context
}

func (b resumable) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() == nil && retry.IsBroken(err) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// maxRedirects is one less than the limit of Go's client.
const maxRedirects = 9

// checkRedirect is the policy for redirects of a registry: never from https to
// http, no user in the URL, and another origin gets neither credentials nor the
// headers that are meant for the registry. A request with a body is sent on
// with the same method and type, or not at all: a PUT that becomes a GET (301
// to 303) would find what is there, which looks like success.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first, last := via[0], via[len(via)-1]
	if len(via) > maxRedirects {
		return refuse("more than %d redirects", maxRedirects)
	}
	if err := checkTarget(last.URL, req.URL); err != nil {
		return err
	}
	if was, is := cmp.Or(first.Method, http.MethodGet), cmp.Or(req.Method, http.MethodGet); is != was {
		return refuse("refused to follow a redirect that makes a %s of a %s: the registry has to answer 307 or 308", is, was)
	}
	for _, r := range append(via, req) {
		if !SameOrigin(r.URL, first.URL) {
			keepOnly(req.Header, forOthers...)
			break
		}
	}
	return nil
}

// checkTarget checks one redirect.
func checkTarget(from, to *url.URL) error {
	switch {
	case to.Scheme != "https" && (to.Scheme != "http" || from.Scheme == "https"):
		return refuse("refused to follow a redirect from %s to %s", from.Scheme, to.Scheme)
	case to.User != nil:
		return refuse("refused to follow a redirect with a user in it")
	}
	return nil
}

// forOthers are the headers that origins other than the registry get.
var forOthers = []string{"Accept", "Accept-Encoding", "Content-Type", "Range", "User-Agent"}

func keepOnly(header http.Header, names ...string) {
	kept := http.Header{}
	for _, name := range names {
		if v := header.Values(name); v != nil {
			kept[name] = v
		}
	}
	clear(header)
	for name, values := range kept {
		header[name] = values
	}
}
