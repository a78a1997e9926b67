package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/registry"
)

const (
	// answerTime is how long the gateway may take for an answer of its own.
	answerTime = 2 * time.Second
	// pullTime is how long it may take when it has to ask a registry: the
	// timeout of containerd.
	pullTime = 30 * time.Second
	// maxAnswer bounds the bodies of answers, as docs/spec.md does.
	maxAnswer = 4 << 20
	// maxMembers bounds the members of a REF that are checked.
	maxMembers = 100
)

// client sends requests to the gateway, with the certificates of one of its
// clients, as that does.
type client struct {
	http    *http.Client
	address string // host:port, or the URL of what is not asked with TLS
}

// client returns a client, or nil when no client has what it needs: the checks of
// hosts.toml and certificates say why.
func (d *doctor) client() *client {
	pairs, _ := d.pairs()
	for _, p := range append(pairs, d.buildKitPair()...) {
		certificate, err := tls.X509KeyPair(p.Client, p.Client)
		pool := x509.NewCertPool()
		if err == nil && pool.AppendCertsFromPEM(p.CA) {
			return &client{&http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
			}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, d.config.Gateway.Address}
		}
	}
	return nil
}

// get requests a path from the gateway. limit includes reading the body.
func (c *client) get(ctx context.Context, limit time.Duration, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	base := c.address
	if !strings.Contains(base, "://") {
		base = "https://" + base
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header["Accept"] = []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
		images.MediaTypeDockerSchema2ManifestList, images.MediaTypeDockerSchema2Manifest, "*/*"}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, body, err
}

// checkAnswers checks that the gateway answers, and then that it answers for
// each registry and REF.
func (d *doctor) checkAnswers(ctx context.Context) []Problem {
	c := d.client()
	if c == nil {
		return d.checkRefs(ctx, nil)
	}
	defer c.http.CloseIdleConnections()
	if found := d.checkGateway(ctx, c); found != nil {
		return found
	}
	return append(d.checkRegistries(ctx, c), d.checkRefs(ctx, c)...)
}

// checkGateway requests the base of the API.
func (d *doctor) checkGateway(ctx context.Context, c *client) []Problem {
	address := c.address
	status, _, err := c.get(ctx, answerTime, "/v2/")
	var unknown *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var refused *net.OpError
	_, port, _ := net.SplitHostPort(address)
	stranger := "find the process with ss -ltnp 'sport = :" + port + "' and stop it, or nestctl install with another --address"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return []Problem{{"the gateway is not running: nothing listens on " + address, d.start()}}
	case errors.As(err, &unknown), errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return []Problem{{fmt.Sprintf("another process than the gateway listens on %s: %s", address, auth.WithoutURL(err)), stranger}}
	case errors.As(err, &alert), errors.As(err, &refused) && refused.Op == "remote error":
		return []Problem{{fmt.Sprintf("the gateway on %s does not accept containerd's certificate: %s", address, auth.WithoutURL(err)), d.installCommand()}}
	case errors.Is(err, context.DeadlineExceeded):
		return []Problem{{fmt.Sprintf("the gateway on %s does not answer within %s", address, answerTime), d.start()}}
	case err != nil:
		return []Problem{{fmt.Sprintf("the gateway on %s: %s", address, auth.WithoutURL(err)), d.start()}}
	case status == http.StatusUnauthorized && d.config.Gateway.Mode == "pod": // nothing was shown
	case status != http.StatusOK:
		return []Problem{{fmt.Sprintf("another process than the gateway listens on %s: it answers %d", address, status), stranger}}
	}
	return nil
}

// checkRefs checks that each REF is served and, with a client, pulls its
// manifest.
func (d *doctor) checkRefs(ctx context.Context, c *client) []Problem {
	var all []Problem
	for _, ref := range d.References {
		if found := d.checkServed(ref); found != nil {
			all = append(all, found...)
		} else if c != nil {
			all = append(all, d.checkManifest(ctx, c, ref)...)
		}
	}
	return all
}

// checkServed checks a REF against the configuration.
func (d *doctor) checkServed(ref auth.Reference) []Problem {
	g := d.config.Gateway
	if registry := ref.Repository().Host(); !slices.Contains(g.Registries, registry) {
		return []Problem{{fmt.Sprintf("%s: registry %s is not in gateway.registries", ref, registry), d.installCommand(registry)}}
	}
	for _, allow := range g.Allow {
		if pattern, err := gateway.ParsePattern(allow); err == nil && pattern.Match(ref.Repository()) {
			return nil
		}
	}
	if len(g.Allow) == 0 {
		return nil
	}
	return []Problem{{fmt.Sprintf("%s: parent not allowed: no pattern of gateway.allow matches %s", ref, ref.Repository()), fmt.Sprintf("add %q to gateway.allow", ref.Repository()) + " in " + d.Config + ", then " + d.reload()}}
}

// checkManifest requests a manifest through the gateway, and those that an
// index lists.
func (d *doctor) checkManifest(ctx context.Context, c *client, ref auth.Reference) []Problem {
	body, problems := d.get(ctx, c, ref.String(), ref.Repository(), cmp.Or(ref.Tag(), ref.Digest().String()))
	var index ocispec.Index
	if json.Unmarshal(body, &index) != nil {
		return problems
	}
	for i, member := range index.Manifests {
		if i == maxMembers || ctx.Err() != nil {
			break
		}
		if oci.IsManifestOrIndex(member.MediaType) && digest.DigestRegexpAnchored.MatchString(member.Digest.String()) { // otherwise it could be any path
			_, found := d.get(ctx, c, fmt.Sprintf("%s: entry %d", ref, i), ref.Repository(), member.Digest.String())
			problems = append(problems, found...)
		}
	}
	return problems
}

// checkRegistries checks that the gateway reaches the registries of which no
// REF is pulled. Any answer of a registry will do.
func (d *doctor) checkRegistries(ctx context.Context, c *client) []Problem {
	var all []Problem
	for _, registry := range d.config.Gateway.Registries {
		if slices.ContainsFunc(d.References, func(r auth.Reference) bool { return r.Repository().Host() == registry }) {
			continue
		}
		name := registry + "/nestctl-doctor"
		for _, allow := range d.config.Gateway.Allow {
			if strings.HasPrefix(allow, registry+"/") {
				name = strings.ReplaceAll(strings.ReplaceAll(allow, "**", "x"), "*", "x")
			}
		}
		repository, err := auth.ParseRepository(name)
		if err != nil {
			continue
		}
		_, found := d.get(ctx, c, "registry "+registry, repository, "latest", http.StatusNotFound, http.StatusForbidden)
		all = append(all, found...)
	}
	return all
}

// get requests a manifest through the gateway. The statuses in fine are not
// problems.
func (d *doctor) get(ctx context.Context, c *client, what string, in auth.Repository, version string, fine ...int) ([]byte, []Problem) {
	path := "/v2/" + in.Name() + "/manifests/" + version + "?ns=" + url.QueryEscape(in.Host())
	status, body, err := c.get(ctx, pullTime, path)
	switch {
	case err == nil && slices.Contains(fine, status):
		return nil, nil
	case err != nil:
		return nil, []Problem{{fmt.Sprintf("%s: the gateway does not answer: %s", what, auth.WithoutURL(err)), d.seeLogs()}}
	case status == http.StatusOK:
		return body, nil
	case status == http.StatusUnauthorized && d.config.Gateway.Mode == "pod":
		return nil, nil // in mode pod the pods have the credentials
	}
	message := cmp.Or(registry.ComplaintIn(body).Message, http.StatusText(status))
	return nil, problemsOf(fmt.Errorf("%s: the gateway answers %d: %s", what, status, message), d.fixOf(status))
}

// fixOf is how to fix a status when the gateway does not say.
func (d *doctor) fixOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "ask its publisher to publish it again as docs/spec.md says"
	case http.StatusUnauthorized, http.StatusForbidden:
		return "add a credential that may pull it to a file in credentials.docker_config"
	case http.StatusNotFound:
		return "check that the registry has it"
	}
	return "check that the node reaches the registry; " + d.seeLogs()
}
