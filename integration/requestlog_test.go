package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// request is a line of a registry's log.
type request struct {
	Method     string
	Repository string
	Kind       string // "manifests", "blobs", "tags", "referrers", "uploads", or "base" for /v2/
	Reference  string
	Status     int
	Authorized bool // it had an Authorization header
	Range      string
	Bytes      int64  // of the answer's body
	Sent       int64  // of the request's
	Code       string // in the body of an answer that is an error
}

var registryPath = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|referrers|tags)/(uploads/)?(.*)$`)

func parseRequest(r *http.Request) request {
	line := request{
		Method:     r.Method,
		Kind:       "base",
		Authorized: r.Header.Get("Authorization") != "",
		Range:      r.Header.Get("Range"),
	}
	if m := registryPath.FindStringSubmatch(r.URL.Path); m != nil {
		line.Repository, line.Kind, line.Reference = m[1], m[2], m[4]
		if m[3] != "" {
			line.Kind = "uploads"
		}
	} else if r.URL.Path != "/v2/" {
		line.Kind = r.URL.Path
	}
	return line
}

// requestLog records what passes through it.
type requestLog struct {
	next http.Handler

	mu    sync.Mutex
	log   []request
	stall map[string]*stall // by reference
}

// stall lets the first answer about a reference come to a halt in the middle of its body.
type stall struct {
	after   int64
	reached chan struct{} // closed when it has come to that
	logged  chan struct{} // closed when the client has gone and the request is in the log
}

func (l *requestLog) stallAt(reference string, after int64) *stall {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &stall{after, make(chan struct{}), make(chan struct{})}
	l.stall = map[string]*stall{reference: s}
	return s
}

func (l *requestLog) takeStall(reference string) *stall {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.stall, reference)
	return l.stall[reference]
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	line := parseRequest(r)
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK, gone: r.Context().Done()}
	if line.Kind == "blobs" && line.Authorized {
		if s := l.takeStall(line.Reference); s != nil {
			recorder.stall = s
			defer close(s.logged)
		}
	}
	sent := &sentBody{ReadCloser: r.Body}
	r.Body = sent
	// Deferred, because the proxy panics when the client has gone in the middle of an answer.
	defer func() {
		line.Status, line.Bytes, line.Code = recorder.status, recorder.bytes, errorCode(recorder.refusal)
		line.Sent = sent.bytes.Load()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.log = append(l.log, line)
	}()
	l.handler().ServeHTTP(recorder, r)
}

// replace puts a handler in place of the one behind the log.
func (l *requestLog) replace(with func(next http.Handler) http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = with(l.next)
}

func (l *requestLog) handler() http.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// sentBody counts what a client sends.
type sentBody struct {
	io.ReadCloser
	bytes atomic.Int64
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	return n, err
}

// errorCode is the first code that a registry's error has, "" when it has none.
func errorCode(body []byte) string {
	var answer struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Errors) == 0 {
		return ""
	}
	return answer.Errors[0].Code
}

// requests returns the log since the last call, sorted only by time of completion.
func (l *requestLog) requests() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.log
	l.log = nil
	return log
}

type statusRecorder struct {
	http.ResponseWriter
	status  int
	bytes   int64
	refusal []byte // the body of an error
	stall   *stall
	gone    <-chan struct{} // closed when the client has gone
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *statusRecorder) Write(data []byte) (int, error) {
	n, err := r.ResponseWriter.Write(data)
	r.bytes += int64(n)
	if r.status >= http.StatusBadRequest {
		r.refusal = append(r.refusal, data[:n]...)
	}
	if r.stall != nil && r.bytes >= r.stall.after {
		r.halt()
		return n, http.ErrAbortHandler
	}
	return n, err
}

// halt sends what was written, says so, and waits for the client to go.
func (r *statusRecorder) halt() {
	_ = http.NewResponseController(r.ResponseWriter).Flush() // the client may have gone already
	close(r.stall.reached)
	<-r.gone
}

// Unwrap lets http.ResponseController flush.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// tally counts the requests that have each value of a property.
func tally[E any, T comparable](log []E, property func(E) T) map[T]int {
	counts := map[T]int{}
	for _, line := range log {
		counts[property(line)]++
	}
	return counts
}

// only returns the requests that fit.
func only(log []request, fits func(request) bool) []request {
	return slices.DeleteFunc(slices.Clone(log), func(line request) bool { return !fits(line) })
}

func showLog(t testing.TB, log []request) {
	t.Helper()
	for _, line := range log {
		t.Logf("%+v", line)
	}
}
