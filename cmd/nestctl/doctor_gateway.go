package main

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

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
)

const (
	// answerTime is how long the gateway may take for an answer of its own.
	answerTime = 2 * time.Second
	// pullTime is how long it may take when it has to ask a registry: what
	// containerd allows.
	pullTime = 30 * time.Second
	// maxAnswer bounds the bodies of answers, as docs/spec.md does.
	maxAnswer = 4 << 20
	// maxMembers bounds the members of a REF that are looked at.
	maxMembers = 100
)

// parent is a REF of the command line.
type parent struct {
	repository auth.Repository
	version    string // tag or digest
}

func (p parent) String() string {
	if strings.Contains(p.version, ":") {
		return p.repository.String() + "@" + p.version
	}
	return p.repository.String() + ":" + p.version
}

func parseParent(arg string) (parent, error) {
	text, err := parseRef(arg)
	if err != nil {
		return parent{}, err
	}
	named, err := reference.ParseDockerRef(text)
	if err != nil {
		return parent{}, usage.Errorf("reference %q: %w", arg, err)
	}
	p := parent{}
	switch v := named.(type) {
	case reference.Digested:
		p.version = v.Digest().String()
	case reference.Tagged:
		p.version = v.Tag()
	}
	p.repository, err = auth.ParseRepository(named.Name())
	return p, err
}

// client is a client of the gateway, as containerd would be one; nil when no
// hosts.toml has what it needs.
func (d *doctor) client() *http.Client {
	if d.http == nil {
		d.http = d.newClient()
	}
	return d.http
}

func (d *doctor) newClient() *http.Client {
	for _, hosts := range d.allHosts() {
		p, missing := d.pairOf(hosts)
		if p == nil || missing != nil {
			continue
		}
		certificate, err := tls.X509KeyPair(p.Client, p.Client)
		pool := x509.NewCertPool()
		if err == nil && pool.AppendCertsFromPEM(p.CA) {
			return &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
			}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		}
	}
	return nil
}

// ask asks the gateway.
func (d *doctor) ask(ctx context.Context, limit time.Duration, path string) (status int, body []byte, err error) {
	client := d.client()
	if client == nil {
		return 0, nil, errNoClient
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+d.config.Gateway.Address+path, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header["Accept"] = []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json", "*/*"}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, body, err
}

// errNoClient says that there are no certificates to ask with; the checks of
// hosts.toml and certificates say why.
var errNoClient = errors.New("no certificates to ask with")

// errorMessage is the message in the JSON of an error.
func errorMessage(body []byte) string {
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Errors) == 0 {
		return ""
	}
	return answer.Errors[0].Message
}

// checkAnswers asks the gateway: for itself, and when it answers for each
// registry and REF.
func (d *doctor) checkAnswers(ctx context.Context) []problem {
	defer func() {
		if d.http != nil {
			d.http.CloseIdleConnections()
		}
	}()
	if found := d.checkGateway(ctx); found != nil {
		return found
	}
	return append(d.checkRegistries(ctx), d.checkRefs(ctx)...)
}

// checkGateway asks for the base of the API.
func (d *doctor) checkGateway(ctx context.Context) []problem {
	address := d.config.Gateway.Address
	status, _, err := d.ask(ctx, answerTime, "/v2/")
	var unknown *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var refused *net.OpError
	_, port, _ := net.SplitHostPort(address)
	stranger := "see with ss -ltnp 'sport = :" + port + "' which process it is, and end it, or nestctl install with another --address"
	switch {
	case errors.Is(err, errNoClient):
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return []problem{{"the gateway is not running: nothing listens on " + address, d.start()}}
	case errors.As(err, &unknown), errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return []problem{{fmt.Sprintf("something else than the gateway listens on %s: %s", address, auth.WithoutURL(err)), stranger}}
	case errors.As(err, &alert), errors.As(err, &refused) && refused.Op == "remote error":
		return []problem{{fmt.Sprintf("the gateway on %s does not accept containerd's certificate: %s", address, auth.WithoutURL(err)), d.again()}}
	case errors.Is(err, context.DeadlineExceeded):
		return []problem{{fmt.Sprintf("the gateway on %s does not answer within %s", address, answerTime), d.start()}}
	case err != nil:
		return []problem{{fmt.Sprintf("the gateway on %s: %s", address, auth.WithoutURL(err)), d.start()}}
	case status != http.StatusOK:
		return []problem{{fmt.Sprintf("something else than the gateway listens on %s: it answers %d", address, status), stranger}}
	}
	return nil
}

// checkRefs looks whether each REF is served, and pulls its manifest.
func (d *doctor) checkRefs(ctx context.Context) []problem {
	var all []problem
	for _, ref := range d.refs {
		if found := d.checkServed(ref); found != nil {
			all = append(all, found...)
		} else {
			all = append(all, d.checkManifest(ctx, ref)...)
		}
	}
	return all
}

// checkServed looks at what the configuration says about a REF.
func (d *doctor) checkServed(ref parent) []problem {
	g := d.config.Gateway
	if registry := ref.repository.Host(); !slices.Contains(g.Registries, registry) {
		return []problem{{fmt.Sprintf("%s: registry %s is not in gateway.registries", ref, registry), d.again(registry)}}
	}
	for _, allow := range g.Allow {
		if pattern, err := gateway.ParsePattern(allow); err == nil && pattern.Match(ref.repository) {
			return nil
		}
	}
	if len(g.Allow) == 0 {
		return nil
	}
	return []problem{{fmt.Sprintf("%s: parent not allowed: no pattern of gateway.allow matches %s", ref, ref.repository), fmt.Sprintf("add %q to gateway.allow", ref.repository) + " in " + d.configFile + ", then " + d.reload()}}
}

// checkManifest gets a manifest through the gateway, and those that an index
// lists.
func (d *doctor) checkManifest(ctx context.Context, ref parent) []problem {
	body, problems := d.get(ctx, ref.String(), ref.repository, ref.version)
	var index ocispec.Index
	if json.Unmarshal(body, &index) != nil {
		return problems
	}
	for i, member := range index.Manifests {
		if i == maxMembers || ctx.Err() != nil {
			break
		}
		if oci.IsManifestOrIndex(member.MediaType) && digest.DigestRegexpAnchored.MatchString(member.Digest.String()) { // what is no digest would be a path
			_, found := d.get(ctx, fmt.Sprintf("%s: entry %d", ref, i), ref.repository, member.Digest.String())
			problems = append(problems, found...)
		}
	}
	return problems
}

// checkRegistries looks whether the gateway reaches the registries of which no
// REF is pulled. Any answer of a registry is good.
func (d *doctor) checkRegistries(ctx context.Context) []problem {
	var all []problem
	for _, registry := range d.config.Gateway.Registries {
		if slices.ContainsFunc(d.refs, func(p parent) bool { return p.repository.Host() == registry }) {
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
		_, found := d.get(ctx, "registry "+registry, repository, "latest", http.StatusNotFound, http.StatusForbidden)
		all = append(all, found...)
	}
	return all
}

// get gets a manifest through the gateway. Some statuses may be fine.
func (d *doctor) get(ctx context.Context, what string, in auth.Repository, version string, fine ...int) ([]byte, []problem) {
	path := "/v2/" + in.Name() + "/manifests/" + version + "?ns=" + url.QueryEscape(in.Host())
	status, body, err := d.ask(ctx, pullTime, path)
	switch {
	case errors.Is(err, errNoClient), err == nil && slices.Contains(fine, status):
		return nil, nil
	case err != nil:
		return nil, []problem{{fmt.Sprintf("%s: the gateway gives no answer: %s", what, auth.WithoutURL(err)), d.see()}}
	case status == http.StatusOK:
		return body, nil
	case status == http.StatusUnauthorized && d.config.Gateway.Mode == "pod":
		return nil, nil // the pods have the credentials
	}
	message := cmp.Or(errorMessage(body), http.StatusText(status))
	return nil, because(fmt.Errorf("%s: the gateway answers %d: %s", what, status, message), d.fixOf(status))
}

// fixOf is what to do about a status when the gateway does not say it.
func (d *doctor) fixOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "have it published again as docs/spec.md says"
	case http.StatusUnauthorized, http.StatusForbidden:
		return "put a credential that may pull it into a file of credentials.docker_config"
	case http.StatusNotFound:
		return "look whether the registry has it"
	}
	return "look whether the node reaches the registry; " + d.see()
}
