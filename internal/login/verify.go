package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// Verify shows a credential to the registry, as docker login does: for a key without
// a path it asks for /v2/, unless it was parsed with a repository to verify, and else to
// pull from at. The client knows that credential alone ([Key.Only]). Errors: those
// of requests; [auth.DeniedError] when the credential is refused, or gives no right.
// A registry that asks for no credential is content with any.
func (k Key) Verify(ctx context.Context, client *registry.Client, at auth.Repository) error {
	if k.path == "" && at == k.own {
		resp, err := client.Base(ctx, k.own.Host(), "/")
		if err != nil {
			return err
		}
		return judge(resp)
	}
	hosts, err := client.Hosts(at)
	if err != nil {
		return err
	}
	own := hosts[len(hosts)-1] // the registry itself, behind its mirrors
	resp, err := own.Do(ctx, registry.Request{
		Repository: at, Method: http.MethodGet, Path: "manifests/latest", Header: http.Header{"Accept": {registry.Accept("")}},
	})
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusNotFound { // it may be empty
		return resp.Body.Close()
	}
	return judge(resp)
}

// judge closes an answer. It is an error unless it is a success.
func judge(resp *http.Response) error {
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err := error(registry.ReadStatusError(resp))
	if resp.StatusCode == http.StatusForbidden && !errdefs.IsPermissionDenied(err) {
		err = errors.Join(errdefs.ErrPermissionDenied, err)
	}
	return fmt.Errorf("%s: %w", resp.Request.URL.Host, err)
}
