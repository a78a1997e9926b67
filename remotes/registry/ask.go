package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
)

// maxExchanges is a request without a token, one with, one with a new token,
// and one for a challenge that has changed in between.
const maxExchanges = 4

// Exchange sends a request, and again for each challenge that is worth it;
// send signs it with the host's authorizer. The answer has any status but 401,
// which is an [auth.DeniedError] in the end, unless it is that of a host to
// which the registry redirects.
func (h Host) Exchange(ctx context.Context, send func() (*http.Response, error)) (*http.Response, error) {
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
	return nil, h.Authorizer.Denied(ctx, "the registry answered 401 again and again")
}

// Delete deletes a repository's "manifests/<tag>" or "manifests/<digest>".
// Errors: as for Head; registries that do not delete answer 405, which is of
// the class errdefs.ErrNotImplemented.
func (r *Client) Delete(ctx context.Context, repository auth.Repository, path string) error {
	endpoints, err := r.endpointsOf(repository.Host())
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		if e.host.Capabilities.Has(docker.HostCapabilityPush) {
			h := e.hostWith(repository.Name(), e.registry.DeleteAuthorizer)
			h.RegistryHost = retrying(h.RegistryHost, true)
			resp, err := r.ask(ctx, h, repository, http.MethodDelete, h.URL(repository, path), "*/*")
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		}
	}
	return fmt.Errorf("%s: hosts.toml allows no host to be pushed to: %w", repository, errdefs.ErrNotFound)
}

// URL is the host's URL of a path below a repository, as containerd's own
// resolver has it.
func (h Host) URL(repository auth.Repository, path string) *url.URL {
	u := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: h.Path + "/" + repository.Name() + "/" + path}
	if registry := repository.Host(); registry != h.Host && (registry != "docker.io" || h.Host != "registry-1.docker.io") {
		u.RawQuery = url.Values{"ns": {registry}}.Encode() // a mirror has to be told
	}
	return u
}

// send makes a request without a body, and again for each challenge. The answer
// has any status but 401, and is for the caller to close.
func (r *Client) send(ctx context.Context, h Host, method string, u *url.URL, accept string) (*http.Response, error) {
	resp, err := h.Exchange(ctx, func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
		if err != nil {
			return nil, err
		}
		req.Header = r.header()
		req.Header.Set("Accept", accept)
		if err := h.Authorizer.Authorize(ctx, req); err != nil {
			return nil, err
		}
		return h.Client.Do(req)
	})
	if err != nil {
		return nil, explain(ctx, []Host{h}, err)
	}
	return resp, nil
}

// ask makes a request without a body, and returns the answer when it is a
// success, for the caller to close.
func (r *Client) ask(ctx context.Context, h Host, repository auth.Repository, method string, u *url.URL, accept string) (*http.Response, error) {
	resp, err := r.send(ctx, h, method, u, accept)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("%s: %s: %w", repository, u.Path, errdefs.ErrNotFound)
	case http.StatusMethodNotAllowed:
		return nil, auth.Classed(errdefs.ErrNotImplemented, "%s: the registry does not allow %s (%s)", repository, method, resp.Status)
	}
	return nil, explain(ctx, []Host{h}, remoteerrors.NewUnexpectedStatusErr(resp))
}
