package find

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// upstream makes requests to registries, at their hosts in the order of hosts.toml.
type upstream struct {
	registries *registry.Client
	asked      func(Kind)
}

// query is a request to a registry.
type query struct {
	method    string
	kind      Kind
	reference string
	accept    string
	header    http.Header // Range and If-Range count
	values    url.Values
	pass      bool // an answer may be a redirect, to be handed on
}

// do tries the hosts until one answers with content (200, 206), with 416, or with
// a redirect that may be handed on. The error is that of the last host, which is
// the registry itself unless hosts.toml says otherwise. If hosts.toml lists the
// registry twice, with different settings, its first answer counts. Errors: the
// class errdefs.ErrNotFound for a 404, [auth.DeniedError] for denials, [registry.StatusError]
// for other answers.
func (u *upstream) do(ctx context.Context, repository auth.Repository, q query) (*http.Response, error) {
	if o := originOf(ctx, repository); o != nil {
		return o.do(ctx, q)
	}
	hosts, err := u.registries.Hosts(repository)
	if err != nil {
		return nil, err
	}
	capable := registry.Capable(hosts, q.capabilities())
	for i, h := range capable {
		asking := ctx
		if !isSame(h, hosts[len(hosts)-1]) {
			asking = callers.With(ctx, callers.Caller{}) // the caller's credentials are for the registry only
		}
		var resp *http.Response
		if resp, err = u.tryHost(asking, h, repository, q, i == len(capable)-1); err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if budgetOf(ctx).readAhead && errors.Is(err, errTimeout) {
			break // the client's own request gives this host more time
		}
		if _, silent := errors.AsType[*silentError](err); !silent && isSame(h, capable[len(capable)-1]) {
			break
		}
	}
	if err == nil {
		err = fmt.Errorf("%s: hosts.toml allows no host to be asked for %s: %w", repository, q.kind, errdefs.ErrNotFound)
	}
	return nil, err
}

// isSame reports whether two entries of a hosts.toml are one host.
func isSame(a, b registry.Host) bool {
	return a.Scheme == b.Scheme && a.Host == b.Host && a.Path == b.Path
}

// firstAnswer returns the first answer of a place's candidates, and whose it is.
func firstAnswer(p nested.Place, root auth.Repository, ask func(auth.Repository) (*http.Response, error)) (resp *http.Response, from auth.Repository, err error) {
	from, err = p.Try(root, func(candidate auth.Repository) (err error) {
		resp, err = ask(candidate) //nolint:bodyclose // the caller gets it
		return err
	})
	return resp, from, err
}

// capabilities are those that a host needs. Tags and lists are requested only from
// hosts that are trusted to resolve them.
func (q query) capabilities() docker.HostCapabilities {
	switch {
	case q.kind == Referrers:
		return docker.HostCapabilityReferrers
	case q.kind == Tags, q.kind == Manifests && !strings.Contains(q.reference, ":"):
		return docker.HostCapabilityPull | docker.HostCapabilityResolve
	}
	return docker.HostCapabilityPull
}

// tryHost makes a request to one host. If it is the last one, it is retried.
func (u *upstream) tryHost(ctx context.Context, h registry.Host, repository auth.Repository, q query, last bool) (*http.Response, error) {
	for tries := new(retry.Tries); ; {
		resp, err := u.exchange(ctx, h, repository, q, last)
		if err == nil || !last {
			return resp, err
		}
		wait, again := tries.After(err)
		if !again || !budgetOf(ctx).sleep(ctx, wait) {
			return nil, err
		}
	}
}

// exchange makes one request to a host, with those that its challenges need, in
// the time that is left.
func (u *upstream) exchange(ctx context.Context, h registry.Host, repository auth.Repository, q query, last bool) (*http.Response, error) {
	b := budgetOf(ctx)
	if q.kind != Blobs {
		ctx = auth.Small(ctx)
	}
	asking, stop, cancel := ctx, func() bool { return true }, func(error) {}
	if !last { // leaves time for the hosts after it
		asking, cancel = context.WithCancelCause(ctx)
		stop = time.AfterFunc(b.left()/3, func() { cancel(errTimeout) }).Stop
	}
	asked := q.of(repository)
	asked.Before = func() error {
		err := b.spend()
		if err == nil {
			u.asked(q.kind)
		}
		return err
	}
	resp, err := h.Do(asking, asked)
	stop() // the answer has begun
	if err != nil {
		cause := context.Cause(asking)
		cancel(nil)
		return nil, transportError(h, repository, err, cause)
	}
	resp.Body = &body{resp.Body, func() { cancel(nil) }}
	return u.judge(ctx, h, repository, q, resp)
}

// of is the query to a repository's registry.
func (q query) of(repository auth.Repository) registry.Request {
	header := http.Header{"Accept": {q.accept}, "Accept-Encoding": {"identity"}} // what is verified is what the digest is of
	for _, name := range []string{"Range", "If-Range"} {
		if v := q.header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	return registry.Request{Repository: repository, Method: q.method, Path: string(q.kind) + "/" + q.reference, Query: q.values, Header: header, HandOn: q.pass}
}

// judge turns answers that are not content into errors.
func (u *upstream) judge(ctx context.Context, h registry.Host, repository auth.Repository, q query, resp *http.Response) (*http.Response, error) {
	switch code := resp.StatusCode; {
	case code == http.StatusOK, code == http.StatusPartialContent, code == http.StatusRequestedRangeNotSatisfiable:
		return resp, nil
	case q.pass && slices.Contains(redirects, code) && resp.Header.Get("Location") != "":
		return resp, nil
	}
	status := registry.ReadStatusError(resp)
	_ = resp.Body.Close()
	status.Elsewhere = !h.Authorizer.Owns(resp.Request.URL)
	complaint := status.Complaint() // Refuse escapes it
	switch {
	case status.StatusCode == http.StatusNotFound, q.kind == Referrers && registry.LacksReferrers(resp, complaint.Code): // clients then ask for a tag
		return nil, fmt.Errorf("%s: %s %s at %s: %w", repository, q.kind, q.reference, h.Host, errdefs.ErrNotFound)
	case status.StatusCode == http.StatusForbidden && !status.Elsewhere:
		return nil, h.Authorizer.Denied(ctx, strings.TrimSpace("the registry answered 403 Forbidden "+complaint.String()))
	}
	return nil, fmt.Errorf("%s: %w", repository, status)
}

// redirects are the statuses that net/http follows.
var redirects = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

// transportError says which host did not answer, and removes the URL from a
// client's error: redirects lead to URLs whose queries contain signatures.
func transportError(h registry.Host, repository auth.Repository, err, cause error) error {
	var client *url.Error
	if !errors.As(err, &client) {
		return err // of the authorizer
	}
	if page, ok := errors.AsType[*registry.AnswerError](err); ok {
		return fmt.Errorf("%s: %w", repository, page)
	}
	if denied, ok := errors.AsType[*auth.DeniedError](err); ok {
		return denied // of a registry that this one redirects to
	}
	switch err = auth.WithoutURL(err); {
	case errors.Is(cause, errTimeout):
		err = errTimeout
	case errors.Is(err, http.ErrSchemeMismatch):
		err = fmt.Errorf("%w; if it is to be so, set server = \"http://%s\" in the gateway's hosts.toml for it", err, h.Host)
	}
	return &silentError{fmt.Errorf("%s: registry %s: %w", repository, h.Host, err)}
}

// silentError says that a host did not answer.
type silentError struct{ error }

func (e *silentError) Unwrap() error { return e.error }
