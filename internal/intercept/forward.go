package intercept

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"

	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/internal/sanitize"
)

// forwarder sends requests on through a transport as they came, but for what is meant for a proxy (RFC 9110, section
// 7.6.1), and sends their answers back.
func forwarder(through http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:     through,
		Rewrite:       unchanged,
		ErrorHandler:  fail,
		ErrorLog:      log.New(io.Discard, "", 0), // what matters is in the journal
		FlushInterval: -1,                         // at once
		BufferPool:    buffers{},
	}
}

// unchanged puts back what ReverseProxy takes out.
func unchanged(r *httputil.ProxyRequest) {
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
}

// fail answers a request that did not get an answer.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if isNoTLS(r.URL.Scheme, err) {
		panic(http.ErrAbortHandler) // as without this proxy, so that clients that may ask again with http do so
	}
	status := http.StatusBadGateway
	if errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusGatewayTimeout
	}
	text := sanitize.Text(bounded(sanitize.URLs(err.Error())))
	// The distribution spec, section "Error Codes", has no code for this.
	body, err := json.Marshal(map[string]any{"errors": []map[string]string{{"code": "UNKNOWN", "message": text}}})
	if err != nil {
		body = nil // strings encode
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who went away has no use for it
}

// explain gives an error the next step.
func explain(host string, err error) error {
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the certificate of %s is not trusted, and nestctl exec does not vouch for it: %w; name its CA in SSL_CERT_FILE", host, untrusted.Err)
	}
	return fmt.Errorf("%s: %w", host, err)
}

// isNoTLS reports whether nothing at a host speaks TLS.
func isNoTLS(scheme string, err error) bool {
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	failed, ok := errors.AsType[*net.OpError](err)
	refused := ok && failed.Op == "dial" && retry.IsRefused(err) // by the host, not by a proxy
	return scheme == "https" && (plain || refused)
}

// bounded cuts what may quote a registry.
func bounded(s string) string {
	const most = 2048
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// watched writes down what a transport was asked, and what went wrong.
type watched struct {
	http.RoundTripper
	journal *journal
}

func (t watched) RoundTrip(r *http.Request) (*http.Response, error) {
	what := r.Method + " " + shown(r.URL)
	var from string
	answer, err := t.RoundTripper.RoundTrip(r.WithContext(context.WithValue(r.Context(), fromKey{}, &from)))
	if err == nil && answer.StatusCode == http.StatusProxyAuthRequired { // a client would take it for an answer to our password
		err = errors.Join(errProxyRefuses, answer.Body.Close())
	}
	if err != nil {
		err = explain(r.URL.Host, err)
		if r.Context().Err() == nil { // else the command went away
			t.journal.failed(what, err)
		}
		t.journal.saw(what + " failed")
		return nil, err
	}
	line := what + " " + strconv.Itoa(answer.StatusCode)
	if from != "" {
		line += " from " + from
	}
	t.journal.saw(line)
	if answer.StatusCode != http.StatusSwitchingProtocols { // its body is written to, too
		answer.Body = watchedBody{answer.Body, t.journal, r, what}
	}
	return answer, nil
}

type fromKey struct{}

// AnsweredFrom says, for the line about a request, from where else than its URL says it is answered. It is for the
// RoundTripper that answers it, which calls it with the request's context and before it returns.
func AnsweredFrom(ctx context.Context, where string) {
	if from, ok := ctx.Value(fromKey{}).(*string); ok {
		*from = where
	}
}

var errProxyRefuses = errors.New("the proxy that was set before asks for other credentials; correct them in HTTP_PROXY")

// watchedBody writes down that a body broke off.
type watchedBody struct {
	io.ReadCloser
	journal *journal
	request *http.Request
	what    string
}

func (b watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && b.request.Context().Err() == nil {
		b.journal.failed(b.what, err)
	}
	return n, err
}

// buffers are for bodies.
type buffers struct{}

var pool = sync.Pool{New: func() any { return new([copySize]byte) }}

func (buffers) Get() []byte  { return pool.Get().(*[copySize]byte)[:] }
func (buffers) Put(b []byte) { pool.Put((*[copySize]byte)(b)) }
