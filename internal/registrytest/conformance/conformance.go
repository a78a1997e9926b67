// Package conformance checks what this project relies on in a registry with token authentication:
// the pull API and the token service. It runs against the registry of package registrytest and
// against real ones, so that the former cannot drift from the latter.
package conformance

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Target is a registry that asks for tokens, with content that exists. Nothing is written to it.
type Target struct {
	BaseURL string       // scheme and host
	Client  *http.Client // trusts the registry and its token service

	Repository string
	Manifest   ocispec.Descriptor // a manifest or index in Repository
	Tag        string             // names Manifest
	Blob       ocispec.Descriptor // a blob of at least 10 bytes in Repository

	User, Password           string // may pull from Repository
	OtherUser, OtherPassword string // is known, and may not

	TokenPOST bool // the token service serves POST, too
}

// absent is the digest of content that no registry has.
const absent = digest.Digest("sha256:00000000000000000000000000000000000000000000000000000000deadbeef")

// Run checks the target in subtests.
func Run(t *testing.T, target Target) {
	c := &client{Target: target}
	t.Run("challenge", c.challenges)
	t.Run("token", c.tokens)
	t.Run("denied", c.denied)
	t.Run("manifest", c.manifests)
	t.Run("blob", c.blobs)
	t.Run("range", c.ranges)
	t.Run("absent", c.absences)
}

// challenges checks what a request without a token, and one with a wrong one, is told.
func (c *client) challenges(t *testing.T) {
	scope := "repository:" + c.Repository + ":pull"
	tests := []struct {
		name, path, bearer, scope, reason string
	}{
		{name: "ping", path: "/v2/"},
		{name: "manifest", path: c.path("manifests", c.Tag), scope: scope},
		{name: "blob", path: c.path("blobs", c.Blob.Digest.String()), scope: scope},
		{name: "invalid token", path: c.path("manifests", c.Tag), bearer: "invalid", scope: scope, reason: "invalid_token"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := c.do(t, c.get(t, test.path, test.bearer))
			got.isError(t, http.StatusUnauthorized, "UNAUTHORIZED")
			challenge := got.challenge(t)
			if challenge["realm"] == "" || challenge["service"] == "" {
				t.Errorf("challenge %v names no realm or no service", challenge)
			}
			if challenge["scope"] != test.scope || challenge["error"] != test.reason {
				t.Errorf("challenge %v, want scope %q and error %q", challenge, test.scope, test.reason)
			}
		})
	}
}

// tokens checks that the token service gives a token that works to those who say who they are.
func (c *client) tokens(t *testing.T) {
	for method, request := range c.tokenRequests() {
		t.Run(method, func(t *testing.T) {
			granted := c.do(t, request(t, c.User, c.Password)).token(t)
			c.do(t, c.get(t, "/v2/", granted)).is(t, http.StatusOK)
			c.do(t, c.get(t, c.path("manifests", c.Tag), granted)).is(t, http.StatusOK)

			c.do(t, request(t, c.User, c.Password+"x")).is(t, http.StatusUnauthorized)
			c.do(t, request(t, c.User+"-unknown", c.Password)).is(t, http.StatusUnauthorized)
		})
	}
}

// denied checks that a known user without rights gets a token, which the registry then refuses.
func (c *client) denied(t *testing.T) {
	for method, request := range c.tokenRequests() {
		t.Run(method, func(t *testing.T) {
			empty := c.do(t, request(t, c.OtherUser, c.OtherPassword)).token(t)
			c.do(t, c.get(t, "/v2/", empty)).is(t, http.StatusOK)

			got := c.do(t, c.get(t, c.path("manifests", c.Tag), empty))
			got.isError(t, http.StatusUnauthorized, "UNAUTHORIZED")
			if challenge := got.challenge(t); challenge["error"] != "insufficient_scope" {
				t.Errorf("challenge %v, want error insufficient_scope", challenge)
			}
		})
	}
}

func (c *client) manifests(t *testing.T) {
	token := c.pullToken(t)
	for _, reference := range []string{c.Tag, c.Manifest.Digest.String()} {
		t.Run(reference, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				got := c.do(t, c.request(t, method, c.path("manifests", reference), token))
				got.is(t, http.StatusOK)
				got.has(t, "Content-Type", c.Manifest.MediaType)
				got.describes(t, c.Manifest)
				got.carries(t, method, c.Manifest)
			}
		})
	}
}

func (c *client) blobs(t *testing.T) {
	token := c.pullToken(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		got := c.do(t, c.request(t, method, c.path("blobs", c.Blob.Digest.String()), token))
		got.is(t, http.StatusOK)
		got.describes(t, c.Blob)
		got.carries(t, method, c.Blob)
	}
}

func (c *client) absences(t *testing.T) {
	token := c.pullToken(t)
	tests := []struct{ kind, reference, code string }{
		{"manifests", "no-such-tag", "MANIFEST_UNKNOWN"},
		{"manifests", absent.String(), "MANIFEST_UNKNOWN"},
		{"blobs", absent.String(), "BLOB_UNKNOWN"},
	}
	for _, test := range tests {
		t.Run(test.kind+" "+test.reference, func(t *testing.T) {
			path := c.path(test.kind, test.reference)
			c.do(t, c.get(t, path, token)).isError(t, http.StatusNotFound, test.code)

			head := c.do(t, c.request(t, http.MethodHead, path, token))
			head.is(t, http.StatusNotFound)
			if len(head.body) > 0 {
				t.Errorf("HEAD has a body: %q", head.body)
			}
		})
	}
}
