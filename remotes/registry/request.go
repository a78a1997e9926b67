package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
)

// Request is a request to one host of a repository's registry.
type Request struct {
	Repository auth.Repository
	Method     string
	Path       string      // below the repository, as in the distribution spec: "manifests/v1", "tags/list"
	Query      url.Values  // without ns, which is added for mirrors
	Header     http.Header // in addition to the client's options
	Body       []byte
	Stream     io.Reader // in place of Body: content that can be read once, of Size bytes
	Size       int64     // -1: not known
	At         *url.URL  // in place of the path: where the registry has led to, as an upload's Location

	// HandOn returns a redirect as the answer when any client could follow it
	// as well as this one: the registry's own, over https, to another host by a
	// name that is not this machine's.
	HandOn bool
	// Before, when given, is called before each request that is made, including
	// those that answer challenges. Its error ends Do.
	Before func() error
}

// Do makes a request, and repeats it for each challenge that it can answer.
// Redirects are followed by this project's policy. The answer, which the caller
// closes, has any status but 401, unless it comes from a host to which the
// registry redirects. Retrying, and trying another host, is up to the caller.
// Errors: those of the host's authorizer, [auth.DeniedError] for a final 401,
// and [url.Error], whose URL may contain a signature in its query.
func (h Host) Do(ctx context.Context, q Request) (*http.Response, error) {
	if q.At != nil {
		return h.do(ctx, q.At, q)
	}
	return h.do(ctx, h.URL(q), q)
}

func (h Host) do(ctx context.Context, u *url.URL, q Request) (*http.Response, error) {
	client := h.Client
	if q.Stream != nil {
		q.Stream = &once{Reader: q.Stream}
	}
	if q.HandOn {
		client = h.handingOn()
	}
	return h.exchange(ctx, func() (*http.Response, error) {
		if q.Before != nil {
			if err := q.Before(); err != nil {
				return nil, err
			}
		}
		body, err := q.body()
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, q.Method, u.String(), body)
		if err != nil {
			return nil, err
		}
		if q.Stream != nil {
			req.ContentLength = q.Size
		}
		maps.Copy(req.Header, h.header)
		maps.Copy(req.Header, q.Header)
		if err := h.Authorizer.Authorize(ctx, req); err != nil {
			return nil, err
		}
		return client.Do(req)
	})
}

func (q Request) body() (io.Reader, error) {
	switch {
	case q.Stream != nil:
		return q.Stream.(*once).again()
	case q.Body == nil:
		return http.NoBody, nil
	}
	return bytes.NewReader(q.Body), nil
}

// accept is the header with the accepted media types.
func accept(mediaTypes ...string) http.Header {
	return http.Header{"Accept": {strings.Join(mediaTypes, ", ")}}
}

// URL returns the URL of a request, as containerd's resolver builds it.
func (h Host) URL(q Request) *url.URL {
	values := url.Values{}
	maps.Copy(values, q.Query)
	if name := q.Repository.Host(); name != h.Host && (name != "docker.io" || h.Host != "registry-1.docker.io") {
		values.Set("ns", name) // a mirror has to be told
	}
	return &url.URL{Scheme: h.Scheme, Host: h.Host, Path: h.Path + "/" + q.Repository.Name() + "/" + q.Path, RawQuery: values.Encode()}
}

// maxExchanges is a request without a token, one with, one with a new token,
// and one for a challenge that has changed meanwhile.
const maxExchanges = 4

// exchange sends a request, and repeats it for each challenge.
func (h Host) exchange(ctx context.Context, send func() (*http.Response, error)) (*http.Response, error) {
	var refused []*http.Response
	for range maxExchanges {
		resp, err := send()
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		refused = append(refused, resp)
		err = h.Authorizer.AddResponses(ctx, refused)
		if errdefs.IsNotImplemented(err) {
			return resp, nil
		}
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return nil, err
		}
	}
	return nil, h.Authorizer.Denied(ctx, "the registry answered 401 repeatedly")
}

// Authorization returns the Authorization header for requests to the host, and
// fetches a token when one is needed. It is empty as long as the registry has
// not asked for a credential, and contains a secret otherwise. Errors: those of
// the host's authorizer.
func (h Host) Authorization(ctx context.Context) (string, error) {
	u := url.URL{Scheme: h.Scheme, Host: h.Host, Path: h.Path}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, u.String(), http.NoBody) // it is not sent
	if err == nil {
		err = h.Authorizer.Authorize(ctx, req)
	}
	if err != nil {
		return "", err
	}
	return req.Header.Get("Authorization"), nil
}

// handingOn returns the host's client, which stops at the first redirect if
// that can be handed on.
func (h Host) handingOn() *http.Client {
	client := *h.Client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if err := h.Client.CheckRedirect(req, via); err != nil {
			return err
		}
		if len(via) == 1 && h.isPublic(req.URL) && !h.Authorizer.HasRedirectedTo(req.URL) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &client
}

// isPublic reports whether other clients can follow a redirect by their own
// rules: only over https, to another host with a name that is not this
// machine's, from a registry whose certificate anybody can verify.
func (h Host) isPublic(to *url.URL) bool {
	name := strings.ToLower(to.Hostname())
	own := (&url.URL{Host: h.Host}).Hostname()
	return !h.OwnTrust && to.Scheme == "https" && to.User == nil && name != strings.ToLower(own) &&
		domainName.MatchString(name) && !strings.HasSuffix(name, ".localhost")
}

// domainName is a name of several labels, of which the last is not a number, as
// in the many spellings of addresses.
var domainName = regexp.MustCompile(`^([a-z0-9_-]+\.)+[a-z][a-z0-9-]*$`)

// inOrder yields the hosts that have a capability. Requests to the last one are
// retried, those to the others are not: the next host is tried instead.
func inOrder(hosts []Host, capability docker.HostCapabilities) iter.Seq[Host] {
	return func(yield func(Host) bool) {
		capable := Capable(hosts, capability)
		for i, h := range capable {
			if !yield(h.retried(i == len(capable)-1)) {
				return
			}
		}
	}
}

// doOK makes a request to a host, and returns an answer that is a success, for
// the caller to close. The class of the error is errdefs.ErrNotFound for a 404.
func (h Host) doOK(ctx context.Context, q Request) (*http.Response, error) {
	resp, err := h.Do(ctx, q)
	if err != nil {
		return nil, explain(ctx, []Host{h}, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %s: %w", q.Repository, h.URL(q).Path, errdefs.ErrNotFound)
	case http.StatusMethodNotAllowed:
		return nil, auth.Classed(errdefs.ErrNotImplemented, "%s: the registry does not allow %s (%s)", q.Repository, q.Method, resp.Status)
	}
	return nil, ReadStatusError(resp).by(ctx, []Host{h})
}

// Delete deletes a repository's "manifests/<tag>" or "manifests/<digest>".
// Errors: as for Head; registries that do not support deleting answer 405,
// which is of the class errdefs.ErrNotImplemented.
func (c *Client) Delete(ctx context.Context, repository auth.Repository, path string) error {
	e, err := c.pushEndpoint(repository)
	if err != nil {
		return err
	}
	h := e.hostWith(repository.Name(), e.registry.DeleteAuthorizer).retried(true)
	resp, err := h.doOK(ctx, Request{Repository: repository, Method: http.MethodDelete, Path: path, Header: accept("*/*")})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// pushEndpoint is the host of a repository's registry for pushing. The class of
// the error is errdefs.ErrNotFound when hosts.toml allows none.
func (c *Client) pushEndpoint(at auth.Repository) (*endpoint, error) {
	endpoints, err := c.endpointsOf(at.Host())
	if err != nil {
		return nil, err
	}
	for _, e := range endpoints {
		if e.host.Capabilities.Has(docker.HostCapabilityPush) {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%s: hosts.toml allows no host to be pushed to: %w", at, errdefs.ErrNotFound)
}

// pushHost is that host with a pusher's token for the repository.
func (e *endpoint) pushHost(at auth.Repository) Host {
	return e.hostWith(at.Name(), func(to auth.Repository) *auth.Authorizer { return e.registry.PushAuthorizer(to) }).retried(true)
}
