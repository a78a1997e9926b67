package registrytest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Kind says what a request asks for.
type Kind string

// The kinds of requests. KindOther is what the registry does not know.
const (
	KindPing      Kind = "ping"
	KindManifest  Kind = "manifest"
	KindBlob      Kind = "blob"
	KindUpload    Kind = "upload"
	KindReferrers Kind = "referrers"
	KindTags      Kind = "tags"
	KindToken     Kind = "token"
	KindSupport   Kind = "support" // of child namespaces, docs/spec.md, section 8a
	KindOther     Kind = "other"
)

// Request is one request that the registry or its token service got.
type Request struct {
	Method string
	Host   string // the Host header
	Path   string
	Query  string // raw
	Header http.Header

	Kind       Kind
	Repository string
	Reference  string // digest or tag

	Status int    // of the answer; 0 when there was none
	Range  string // the Range header

	Authorization string   // the header as it came
	Scheme        string   // its scheme, "Basic" or "Bearer"; "" without one
	User          string   // who asks, by Basic, form or token; "" is anonymous or an unknown token
	Scopes        []string // granted to the token, or asked of the token service

	Grant string     // grant_type of a POST to the token service
	Form  url.Values // query and body of a token request
}

// String is the request in one line, for people to read.
func (q Request) String() string {
	words := []string{q.Method}
	if q.Repository != "" {
		words = append(words, q.Repository)
	}
	words = append(words, string(q.Kind))
	switch q.Kind {
	case KindToken:
		words = append(words, q.Scopes...)
	case KindOther:
		words = append(words, q.Path)
	}
	if q.Reference != "" {
		words = append(words, short(q.Reference))
	}
	if q.Range != "" {
		words = append(words, q.Range)
	}
	words = append(words, q.outcome())
	if who := q.who(); who != "" {
		words = append(words, "("+who+")")
	}
	return strings.Join(words, " ")
}

func (q Request) outcome() string {
	if q.Status == 0 {
		return "no answer"
	}
	return fmt.Sprint(q.Status)
}

// who says in whose name the request was made; nothing for a request without credentials.
func (q Request) who() string {
	name := q.User
	if name == "" {
		name = "anonymous"
	}
	switch {
	case q.Kind == KindToken && q.Grant != "":
		return q.Grant + " " + name
	case q.bearer():
		return strings.Join(append([]string{"bearer", name}, q.Scopes...), " ")
	case q.Scheme != "":
		return strings.ToLower(q.Scheme) + " " + name
	case q.Kind == KindToken:
		return name
	}
	return ""
}

func (q Request) bearer() bool { return strings.EqualFold(q.Scheme, "Bearer") }

// short cuts a digest after twelve characters.
func short(reference string) string {
	dgst, err := digest.Parse(reference)
	if err != nil {
		return reference
	}
	return fmt.Sprintf("%s:%.12s…", dgst.Algorithm(), dgst.Encoded())
}

// Filter chooses requests, for counting and for faults.
type Filter func(Request) bool

// Of matches requests of one kind.
func Of(kind Kind) Filter { return func(q Request) bool { return q.Kind == kind } }

// In matches requests for one repository.
func In(repository string) Filter { return func(q Request) bool { return q.Repository == repository } }

// Below matches requests for one repository and those below it.
func Below(repository string) Filter {
	return func(q Request) bool { return strings.HasPrefix(q.Repository+"/", repository+"/") }
}

// Method matches requests with that method.
func Method(method string) Filter { return func(q Request) bool { return q.Method == method } }

// WithCredentials matches requests that carry an Authorization header.
func WithCredentials(q Request) bool { return q.Authorization != "" }

func all(q Request, filters []Filter) bool {
	for _, f := range filters {
		if !f(q) {
			return false
		}
	}
	return true
}

// requestLog has a request from its arrival on, so that a client that has an
// answer finds it logged.
type requestLog struct {
	mu      sync.Mutex
	entries []*Request
}

func (l *requestLog) add(q *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, q)
}

func (l *requestLog) setStatus(q *Request, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q.Status = status
}

// Log lists the requests that all filters match, in order of arrival.
func (r *Registry) Log(filters ...Filter) []Request {
	r.log.mu.Lock()
	entries := make([]Request, len(r.log.entries))
	for i, q := range r.log.entries {
		entries[i] = *q
	}
	r.log.mu.Unlock()
	return slices.DeleteFunc(entries, func(q Request) bool { return !all(q, filters) })
}

// Count counts the requests that all filters match.
func (r *Registry) Count(filters ...Filter) int { return len(r.Log(filters...)) }

// ResetLog empties the log.
func (r *Registry) ResetLog() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.entries = nil
}
