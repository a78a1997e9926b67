package registry

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/remotes/auth"
)

// endpoint is one host of a registry: the registry itself or a mirror.
type endpoint struct {
	host     docker.RegistryHost // without authorizer
	prefix   string              // in front of repository names, for mirrors below a path
	registry *auth.Registry
	header   http.Header // sent with each request, to the registry only
	metrics  *Metrics
	next     http.RoundTripper
	ownTrust bool
}

// hostFor returns the endpoint as a host for requests about one repository.
func (e *endpoint) hostFor(name string) Host { return e.hostWith(name, e.registry.Authorizer) }

func (e *endpoint) hostWith(name string, authorizer func(auth.Repository) *auth.Authorizer) Host {
	name = e.nameOf(name)
	host := Host{RegistryHost: e.host, Name: name, OwnTrust: e.ownTrust, header: e.header, registry: e.registry}
	host.Authorizer = authorizer(e.registry.Repository(name))
	host.RegistryHost.Authorizer = host.Authorizer
	return host
}

// nameOf is a repository's name at the endpoint.
func (e *endpoint) nameOf(name string) string {
	if e.prefix == "" {
		return name
	}
	return e.prefix + "/" + name
}

// client returns the HTTP client for requests to the endpoint. containerd
// keeps its redirect policy.
func (e *endpoint) client() *http.Client {
	return &http.Client{Transport: e, CheckRedirect: e.registry.CheckRedirect}
}

// RoundTrip implements [http.RoundTripper]. It counts requests, checks media
// types where they matter, and repeats a HEAD as GET when it was answered with
// a page.
func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.roundTrip(req)
	if err == nil && req.Method == http.MethodHead && resp.StatusCode == http.StatusOK && IsPage(resp.Header.Get("Content-Type")) {
		if err = resp.Body.Close(); err == nil {
			return headByGet(req, e.roundTrip) // GET decides
		}
	}
	return resp, err
}

// roundTrip makes a request as it is.
func (e *endpoint) roundTrip(req *http.Request) (*http.Response, error) {
	if len(e.header) > 0 && !e.registry.Owns(req.URL) { // an upload that goes on elsewhere
		req = req.Clone(req.Context())
		for name := range e.header {
			if name != "Accept" && name != "User-Agent" {
				req.Header.Del(name)
			}
		}
	}
	resp, err := e.next.RoundTrip(req)
	if err == nil {
		resp, err = e.renewed(req, resp)
	}
	if err != nil {
		return nil, err
	}
	e.count(req, resp)
	e.settleLocation(req, resp)
	if err := cmp.Or(checkPage(req, resp), checkType(req, resp)); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	checkBlobPage(req, resp)
	return resp, nil
}

// settleLocation rewrites the URL where an upload continues so that docker's
// pusher understands it. The pusher accepts no relative URL but a path, and
// takes another spelling of the registry for another host: the URL becomes a
// path on the registry, or else an absolute URL. It is relative to the request
// that was answered, after redirects.
func (e *endpoint) settleLocation(req *http.Request, resp *http.Response) {
	location := resp.Header.Get("Location")
	if location == "" || resp.StatusCode/100 != 2 {
		return
	}
	if strings.HasPrefix(location, e.host.Host+"/") { // without a scheme, as containerd takes it
		location = "//" + location
	}
	to, err := req.URL.Parse(location)
	if err != nil {
		return // for docker's pusher to say
	}
	to.User = nil // nobody's
	if e.registry.Owns(to) {
		to.Scheme, to.Host = "", ""
	}
	resp.Header.Set("Location", to.String())
}

func (e *endpoint) count(req *http.Request, resp *http.Response) {
	resp.Body = countedBody{resp.Body, &e.metrics.Bytes}
	if !e.registry.Owns(req.URL) || resp.StatusCode == http.StatusUnauthorized {
		return // where a redirect led, or a challenge
	}
	if isOfManifest(req) {
		e.metrics.Manifests.Add(1)
	} else {
		e.metrics.Blobs.Add(1)
	}
}

// isOfManifest reports whether a request is for …/manifests/<reference>, or was
// before it was redirected: login pages have other paths. Repositories may have
// "manifests" in their names.
func isOfManifest(req *http.Request) bool {
	return path.Base(path.Dir(firstRequest(req).URL.Path)) == "manifests"
}

// firstRequest returns the request that was redirected to this one.
func firstRequest(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

// requestedRepository is the repository of a request for a manifest or a blob,
// as host/name, before it was redirected.
func requestedRepository(req *http.Request) string {
	u := firstRequest(req).URL
	e, _ := apipath.ParseBelow(u.Path)
	return u.Host + "/" + e.Name
}

type countedBody struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}
