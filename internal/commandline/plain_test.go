package commandline

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/retry"
)

// TestPlain: what real requests fail with is said without the words of Go's libraries, and without the URL.
func TestPlain(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	open := httptest.NewServer(http.NotFoundHandler())
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	abrupt := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	clienttest.NoError(t, err)
	clienttest.NoError(t, closed.Close())
	for _, s := range []*httptest.Server{secure, open, silent, abrupt} {
		t.Cleanup(s.Close)
	}
	ended, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	misnamed := *secure.Client()
	misnamed.Transport.(*http.Transport).TLSClientConfig.ServerName = "other.test"
	for name, test := range map[string]struct {
		client *http.Client
		ctx    context.Context
		url    string
		want   string
	}{
		"closed":    {open.Client(), t.Context(), "http://" + closed.Addr().String(), "connection refused"},
		"authority": {open.Client(), t.Context(), secure.URL, "its certificate is signed by an unknown authority"},
		"misnamed":  {&misnamed, t.Context(), secure.URL, "its certificate is for another host"},
		"plain":     {open.Client(), t.Context(), strings.Replace(open.URL, "http:", "https:", 1), "an answer over http where https was expected"},
		"silent":    {silent.Client(), ended, silent.URL, "no answer in time"},
		"abrupt":    {abrupt.Client(), t.Context(), abrupt.URL, "the connection was closed without an answer"},
	} {
		req, err := http.NewRequestWithContext(test.ctx, http.MethodGet, test.url+"/v2/?secret=HUNTER2", nil)
		clienttest.NoError(t, err)
		resp, err := test.client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		want := "a: " + req.URL.Host + ": " + test.want + "; b"
		if got := Plain(fmt.Errorf("a: failed to do request: %w; b", err)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	lookup := &url.Error{Op: "Get", URL: "https://reg.test/v2/", Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "reg.test", IsNotFound: true}}}
	for want, err := range map[string]error{
		"c: reg.test: no such host":                             fmt.Errorf("c: %w", retry.Spent(lookup)),
		"reg.test: the connection was closed without an answer": &url.Error{Op: "Get", URL: "https://reg.test/v2/", Err: retry.Unrepeated(io.EOF)},
		"d: connection reset by peer":                           fmt.Errorf("d: %w", retry.Spent(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)})),
		"reg.test: no such host":                                lookup,
		"a\nno answer in time":                                  fmt.Errorf("%w\n%w", fmt.Errorf("a"), context.DeadlineExceeded),
		"b: its own words":                                      fmt.Errorf("b: its own words"),
		"reg.test: no such host, reg.test: no such host":        fmt.Errorf("%w, %w", lookup, lookup),
	} {
		if got := Plain(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
