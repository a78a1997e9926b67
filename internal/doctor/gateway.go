package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
)

// client sends requests to the gateway, with the certificates of one of its
// clients, as that does.
type client struct {
	http    *http.Client
	address string // host:port, or the URL of what is not asked with TLS
	user    auth.Credential
}

// answer is what came to a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get requests a path as programs do that take any manifest.
func (c *client) get(ctx context.Context, limit time.Duration, path string) (answer, error) {
	return c.do(ctx, limit, http.MethodGet, path, ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
		images.MediaTypeDockerSchema2ManifestList, images.MediaTypeDockerSchema2Manifest, "*/*")
}

// do requests a path. limit includes reading the body.
func (c *client) do(ctx context.Context, limit time.Duration, method, path string, accept ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	base := c.address
	if !strings.Contains(base, "://") {
		base = "https://" + base
	}
	request, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return answer{}, err
	}
	request.Header["Accept"] = accept
	if c.user.Username != "" {
		request.SetBasicAuth(c.user.Username, string(c.user.Password))
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return answer{response.StatusCode, response.Header, body}, err
}

// checkAnswers checks that the gateway answers each program, by the files that
// it has of its own, and then that it reaches each registry.
func (d *doctor) checkAnswers(ctx context.Context) []Problem {
	var all []Problem
	var asked way
	for _, w := range d.allWays() {
		c := w.client(d.config.Gateway.Address)
		if c == nil {
			continue // the checks of its files say why
		}
		p, own := d.checkGateway(ctx, c, w.program)
		c.http.CloseIdleConnections()
		switch {
		case p == nil:
			asked = w
		case own && d.stopOf(w, w.prefix) != nil: // which says why
		case own:
			if d.stops(w.where, w.prefix, *p); !slices.Contains(all, *p) {
				all = append(all, *p)
			}
		default:
			d.silent = p
			return []Problem{*p}
		}
	}
	if asked.program == "" {
		return all
	}
	return append(all, d.checkRegistries(ctx, asked)...)
}

// checkGateway requests the base of the API as a program. own says that a
// problem is about certificates, and so may be that program's own.
func (d *doctor) checkGateway(ctx context.Context, c *client, program string) (p *Problem, own bool) {
	address := c.address
	a, err := c.get(ctx, answerTime, "/v2/")
	var unknown *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var refused *net.OpError
	_, port, _ := net.SplitHostPort(address)
	stranger := "find the process with ss -ltnp 'sport = :" + port + "' and stop it, or nestctl install with another --address"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Problem{"the gateway is not running: nothing listens on " + address, d.start()}, false
	case errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &unknown):
		return &Problem{fmt.Sprintf("another process than the gateway listens on %s: %s", address, auth.WithoutURL(err)), stranger}, unknown != nil
	case errors.As(err, &alert), errors.As(err, &refused) && refused.Op == "remote error":
		return &Problem{fmt.Sprintf("the gateway on %s does not accept %s's certificate: %s", address, program, auth.WithoutURL(err)), d.installCommand()}, true
	case errors.Is(err, context.DeadlineExceeded):
		return &Problem{fmt.Sprintf("the gateway on %s does not answer within %s", address, answerTime), d.start()}, false
	case err != nil:
		return &Problem{fmt.Sprintf("the gateway on %s: %s", address, auth.WithoutURL(err)), d.start()}, false
	case d.wantsPod(a): // nothing was shown
	case a.status != http.StatusOK:
		return &Problem{fmt.Sprintf("another process than the gateway listens on %s: it answers %d", address, a.status), stranger}, false
	}
	return nil, false
}

// checkServed checks a REF against the configuration.
func (d *doctor) checkServed(ref auth.Reference) *Problem {
	g := d.config.Gateway
	if registry := ref.Repository().Host(); !slices.Contains(g.Registries, registry) {
		return &Problem{fmt.Sprintf("registry %s is not in gateway.registries", registry), d.installCommand(registry)}
	}
	for _, allow := range g.Allow {
		if pattern, err := gateway.ParsePattern(allow); err == nil && pattern.Match(ref.Repository()) {
			return nil
		}
	}
	if len(g.Allow) == 0 {
		return nil
	}
	return &Problem{fmt.Sprintf("parent not allowed: no pattern of gateway.allow matches %s", ref.Repository()), fmt.Sprintf("add %q to gateway.allow", ref.Repository()) + " in " + d.Config + ", then " + d.reload()}
}

// checkRegistries checks that the gateway reaches the registries of which no
// REF is pulled. Any answer of a registry will do.
func (d *doctor) checkRegistries(ctx context.Context, w way) []Problem {
	c := w.client(d.config.Gateway.Address)
	defer c.http.CloseIdleConnections()
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
		a, err := c.get(ctx, pullTime, w.path(repository, "latest"))
		if err != nil || a.status != http.StatusNotFound && a.status != http.StatusForbidden && !d.wantsPod(a) {
			all = append(all, d.answered("registry "+registry+": ", a, err)...)
		}
	}
	return all
}

// wantsPod reports whether an answer asks for the credential of a pod.
func (d *doctor) wantsPod(a answer) bool {
	return a.status == http.StatusUnauthorized && d.config.Gateway.Mode == "pod"
}

// answered says what is wrong with the answer to a request for a manifest.
func (d *doctor) answered(what string, a answer, err error) []Problem {
	switch {
	case err != nil:
		return []Problem{{fmt.Sprintf("%sthe gateway does not answer: %s", what, auth.WithoutURL(err)), d.seeLogs()}}
	case a.status == http.StatusOK:
		return nil
	}
	message := cmp.Or(registry.ComplaintIn(a.body).Message, http.StatusText(a.status))
	return problemsOf(fmt.Errorf("%sthe gateway answers %d: %s", what, a.status, message), d.fixOf(a.status))
}

// fixOf is how to fix a status when the gateway does not say.
func (d *doctor) fixOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "ask its publisher to publish it again as docs/spec.md says"
	case http.StatusUnauthorized, http.StatusForbidden:
		if d.config.Gateway.Mode == "pod" {
			return "use a pull secret that may pull it"
		}
		return "add a credential that may pull it to a file in credentials.docker_config"
	case http.StatusNotFound:
		return "check that the registry has it"
	}
	return "check that the node reaches the registry; " + d.seeLogs()
}
