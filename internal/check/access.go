package check

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// access records, for each repository, what its answers say about the
// credential.
type access struct {
	client      *registry.Client
	credentials auth.Source

	mu      sync.Mutex
	answers map[auth.Repository]*answers
}

// answers summarize the answers of a repository.
type answers struct {
	served  bool
	err     error  // the worst answer
	scheme  string // of the authorization that was accepted
	schemes sync.Once
}

func newAccess(client *registry.Client, credentials auth.Source) *access {
	return &access{client: client, credentials: credentials, answers: map[auth.Repository]*answers{}}
}

// noteRead records the result of reading a manifest or index for target, the
// repository of its path, and for found, which served it.
func (a *access) noteRead(ctx context.Context, target, found auth.Repository, err error) {
	var child *nested.Error
	var other *nested.VerifyError
	var bad *nested.InvalidError
	switch {
	case errors.As(err, &child):
		for _, attempt := range child.Attempts {
			a.note(ctx, attempt.Repository, attempt.Err)
		}
	case errors.As(err, &other):
		a.note(ctx, other.Repository, nil)
	case err == nil, errors.As(err, &bad):
		a.note(ctx, found, nil)
	default:
		a.note(ctx, target, err)
	}
}

// note records a repository's answer: nil for content that it served.
func (a *access) note(ctx context.Context, r auth.Repository, err error) {
	a.mu.Lock()
	of, ok := a.answers[r]
	if !ok {
		of = new(answers)
		a.answers[r] = of
	}
	if err == nil {
		of.served = true
	} else if of.err == nil || classOf(err) < classOf(of.err) {
		of.err = err
	}
	a.mu.Unlock()
	if err == nil || classOf(err) == notFound {
		of.schemes.Do(func() { of.scheme = a.scheme(ctx, r) })
	}
}

// scheme is the scheme of the authorization for a repository; "" when its
// registry does not ask for any. A token that was just used is still cached.
func (a *access) scheme(ctx context.Context, r auth.Repository) string {
	hosts := a.hosts(r)
	if len(hosts) == 0 {
		return ""
	}
	authorization, err := hosts[0].Authorization(ctx)
	if err != nil {
		return ""
	}
	scheme, _, _ := strings.Cut(authorization, " ")
	return scheme
}

// hosts are those from which a repository may be pulled.
func (a *access) hosts(r auth.Repository) []registry.Host {
	all, _ := a.client.Hosts(r) // this repository has answered already
	var hosts []registry.Host
	for _, h := range all {
		if h.Capabilities.Has(docker.HostCapabilityPull) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// report is the report's line about a repository.
func (a *access) report(ctx context.Context, r auth.Repository) Repository {
	of := a.answers[r]
	line := Repository{
		Repository: r.String(),
		Credential: a.credential(ctx, r),
		Scope:      a.scope(r, of),
		Granted:    "unknown",
		Status:     "ok",
	}
	var refusal *auth.DeniedError
	switch {
	case errors.As(of.err, &refusal):
		line.Granted = "denied: " + refusal.Answer
	case of.err != nil && classOf(of.err) == denied:
		line.Granted = "denied: " + of.err.Error()
	case of.served && of.scheme == "":
		line.Granted = "none asked"
	case of.served:
		line.Granted = "pull"
	}
	if of.err != nil && (!of.served || classOf(of.err) != notFound) {
		line.Status = classOf(of.err).String()
	}
	line.Granted = sanitize.URLs(line.Granted)
	return line
}

// scope is the scope that was requested in a repository's token.
func (a *access) scope(r auth.Repository, of *answers) string {
	var refusal *auth.DeniedError
	switch {
	case errors.As(of.err, &refusal):
		return refusal.Scope
	case of.scheme != "Bearer":
		return ""
	}
	name := r.Name()
	if hosts := a.hosts(r); len(hosts) > 0 {
		name = hosts[0].Name // a mirror's, maybe
	}
	return "repository:" + name + ":pull"
}

// credential says which credential each host of a repository gets.
func (a *access) credential(ctx context.Context, r auth.Repository) string {
	var sources []string
	hosts := a.hosts(r)
	for _, h := range hosts {
		at, err := auth.ParseRepository(h.Host + "/" + h.Name)
		if err != nil {
			at = r // as mirrors may name it
		}
		credential, err := a.credentials.Lookup(ctx, at)
		source := credential.Source
		if err != nil {
			source = "unknown: " + err.Error()
		}
		if len(hosts) > 1 {
			source = h.Host + ": " + source
		}
		sources = append(sources, source)
	}
	return cmp.Or(strings.Join(sources, "; "), "none")
}
