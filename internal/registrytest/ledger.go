package registrytest

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Ledger knows what a scenario allows, and finds violations in the logs of its
// registries: a secret that was sent to somebody else, a host that must not be
// contacted, a repository that is neither a parent nor below one. Tokens are
// secrets of the registry that issued them, each for one repository.
type Ledger struct {
	writes  bool
	parents []string
	origins []*origin
	secrets map[string][]permission
}

// origin is a registry of the scenario. Unless it is expected, no request may
// be made to it.
type origin struct {
	registry *Registry
	expected bool
}

type permission struct {
	registry *Registry
	filters  []Filter
}

// NewLedger is for a scenario with requests for content in these repositories
// and below.
func NewLedger(parents ...string) *Ledger {
	return &Ledger{parents: parents, secrets: map[string][]permission{}}
}

// Expect allows requests to a registry.
func (l *Ledger) Expect(r *Registry) { l.origins = append(l.origins, &origin{r, true}) }

// Avoid forbids requests to a registry.
func (l *Ledger) Avoid(r *Registry) { l.origins = append(l.origins, &origin{r, false}) }

// Show allows a secret in those requests to a registry that all filters match,
// and from then on nowhere else.
func (l *Ledger) Show(secret string, r *Registry, filters ...Filter) {
	l.secrets[secret] = append(l.secrets[secret], permission{r, filters})
}

// Breaches lists violations, in no particular order.
func (l *Ledger) Breaches() (found []string) {
	for _, o := range l.origins {
		for _, q := range o.registry.Log() {
			for _, breach := range l.breaches(o, q) {
				found = append(found, fmt.Sprintf("%s: %s: %s", o.registry.Host(), q, breach))
			}
		}
	}
	return found
}

// Writes expects clients that push, mount and delete, and log in.
func (l *Ledger) Writes() { l.writes = true }

// isFor reports whether a request's token is for nothing but the repository; for a mount it is also
// for what that is from.
func (l *Ledger) isFor(q Request) bool {
	own := "repository:" + q.Repository + ":"
	if !l.writes {
		return slices.Equal(q.Scopes, []string{own + "pull"})
	}
	for _, s := range q.Scopes {
		switch {
		case s == own+"pull", s == own+"pull,push", s == own+"delete":
		case q.Kind == KindUpload && len(q.Scopes) == 2 && strings.HasSuffix(s, ":pull"):
		default:
			return false
		}
	}
	return true
}

func (l *Ledger) breaches(o *origin, q Request) (found []string) {
	switch {
	case !o.expected:
		found = append(found, "must not be contacted")
	case q.Kind == KindOther:
		found = append(found, "no request of the specification: "+q.Path)
	case q.Repository != "" && !l.below(q.Repository):
		found = append(found, "outside the parents")
	case q.Kind == KindToken && len(q.Scopes) != 1 && !l.writes:
		found = append(found, fmt.Sprintf("scopes %q", q.Scopes))
	case q.bearer() && q.Repository != "" && len(q.Scopes) > 0 && !l.isFor(q):
		found = append(found, fmt.Sprintf("a token for %q", q.Scopes))
	}
	text := q.text()
	for secret, permissions := range l.secrets {
		if shows(text, secret) && !slices.ContainsFunc(permissions, func(p permission) bool { return p.registry == o.registry && all(q, p.filters) }) {
			found = append(found, fmt.Sprintf("the secret %q", secret))
		}
	}
	for _, other := range l.origins {
		if other.registry != o.registry && other.registry.issued(text) {
			found = append(found, "a token of "+other.registry.Host())
		}
	}
	return found
}

func (l *Ledger) below(repository string) bool {
	return slices.ContainsFunc(l.parents, func(p string) bool { return repository == p || strings.HasPrefix(repository, p+"/") })
}

// Shown lists the secrets of the ledger, and tokens of its registries, that a text holds: a log, an error, metrics.
func (l *Ledger) Shown(text string) (found []string) {
	for secret := range l.secrets {
		if shows(text, secret) {
			found = append(found, secret)
		}
	}
	for _, o := range l.origins {
		if o.registry.issued(text) {
			found = append(found, "a token of "+o.registry.Host())
		}
	}
	return found
}

// text is everything that came with a request, with Basic credentials in the clear.
func (q Request) text() string {
	text := fmt.Sprint(q.Path, " ", q.Query, " ", q.Header, " ", q.Form)
	if _, encoded, ok := strings.Cut(q.Authorization, " "); ok {
		if clear, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			text += " " + string(clear)
		}
	}
	return text
}

// shows reports whether a text holds a secret, as it is or in base64, at any of the three offsets that it can have there.
func shows(text, secret string) bool {
	if strings.Contains(text, secret) {
		return true
	}
	for offset := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), secret...))
		// The first and last characters depend on what is beside it.
		inner := encoded[min(len(encoded), (offset*8+5)/6):]
		if inner = inner[:max(len(inner)-1, 0)]; len(inner) >= 6 && strings.Contains(text, inner) {
			return true
		}
	}
	return false
}

// issued reports whether a text holds one of the registry's tokens.
func (r *Registry) issued(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for value := range r.tokens {
		if strings.Contains(text, value) {
			return true
		}
	}
	return false
}

// Output keeps what is written to it, such as a log, for [Ledger.Shown]. It may
// be used by several goroutines at once.
type Output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements [io.Writer].
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is all that was written.
func (o *Output) String() string { return o.Since(0) }

// Len is how many bytes were written.
func (o *Output) Len() int { return len(o.String()) }

// Since is what was written after so many bytes.
func (o *Output) Since(start int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()[start:]
}
