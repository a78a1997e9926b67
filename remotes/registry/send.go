package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/nestedoci/nested/remotes/auth"
)

// Send makes a request on behalf of a client that pushes, to the host of the
// repository's registry that may be pushed to: with a token for deleting where
// the method is DELETE, else with one for pushing, and for pulling from what is
// mounted. A request without a Stream is retried by the policy. The answer, which
// the caller closes, is as for [Host.Do], but for a redirect: it is the answer
// where following it would need the stream again. A Location is absolute.
// Errors: those of [Host.Do]; the class errdefs.ErrNotFound when hosts.toml
// allows no host to be pushed to.
func (c *Client) Send(ctx context.Context, q Request, mounted ...auth.Repository) (*http.Response, error) {
	e, err := c.pushEndpoint(q.Repository)
	if err != nil {
		return nil, err
	}
	h := e.hostWith(q.Repository.Name(), func(to auth.Repository) *auth.Authorizer {
		if q.Method == http.MethodDelete {
			return e.registry.DeleteAuthorizer(to)
		}
		return e.registry.PushAuthorizer(to, mounted...)
	})
	if q.Stream == nil {
		h = h.retried(true)
	} else if err = h.prepare(ctx); err != nil {
		return nil, err
	}
	resp, err := h.Do(ctx, q)
	if err != nil {
		return nil, explain(ctx, []Host{h}, err)
	}
	if resp.Header.Get("Location") == "" {
		return resp, nil
	}
	location, err := resp.Location()
	if err != nil { // which would quote it, and it may be signed
		return nil, errors.Join(fmt.Errorf("%s: registry %s answered with a Location that is not a URL", q.Repository, h.Host), resp.Body.Close())
	}
	resp.Header.Set("Location", location.String())
	return resp, nil
}

// Base asks the host of a registry for pulling for a path below the API's root,
// "/" for that itself, with the credential that there is without regard to a
// repository: as clients do that log in. Errors: as for [Host.Do].
func (c *Client) Base(ctx context.Context, registry, path string) (*http.Response, error) {
	endpoints, err := c.endpointsOf(registry)
	if err != nil {
		return nil, err
	}
	return endpoints[len(endpoints)-1].base(ctx, path) // the registry itself, unless hosts.toml says otherwise
}

// base asks an endpoint for a path below the API's root.
func (e *endpoint) base(ctx context.Context, path string) (*http.Response, error) {
	h := e.hostWith("", func(auth.Repository) *auth.Authorizer { return e.registry.Authorizer(e.registry.Repository("")) }).retried(true)
	u := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: strings.TrimSuffix(h.Path, "/"+e.prefix) + path}
	resp, err := h.do(ctx, u, Request{Method: http.MethodGet, Header: accept("application/json")})
	if err != nil {
		return nil, explain(ctx, []Host{h}, err)
	}
	return resp, nil
}

// prepare makes the registry say which credential it wants before something is
// sent that can be sent once only.
func (h Host) prepare(ctx context.Context) error {
	signed, err := h.Authorization(ctx)
	if err != nil || signed != "" {
		return err
	}
	root := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: h.Path + "/"}
	resp, err := h.do(ctx, root, Request{Method: http.MethodGet, Header: accept("*/*")})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// errSent is the error of a request whose stream has been sent, and was for
// nothing.
var errSent = errors.New("the registry asked for a credential when the content had been sent; send it again")

// once is a stream that can be begun once.
type once struct {
	io.Reader
	begun bool
}

// again is the stream for one more request.
func (o *once) again() (io.Reader, error) {
	if o.begun {
		return nil, errSent
	}
	return o, nil
}

// Read implements [io.Reader].
func (o *once) Read(p []byte) (int, error) {
	o.begun = true
	return o.Reader.Read(p)
}
