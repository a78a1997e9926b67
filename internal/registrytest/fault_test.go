package registrytest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
)

const body = "0123456789"

// withBlob runs a registry with one blob and answers the blob's path.
func withBlob(t *testing.T, options ...registrytest.Option) (r *registrytest.Registry, path string) {
	t.Helper()
	r = start(t, options...)
	d := r.PutBlob("org/app", "text/plain", []byte(body))
	return r, "/v2/org/app/blobs/" + d.Digest.String()
}

func TestInterceptIsLogged(t *testing.T) {
	r, path := withBlob(t)
	r.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusTeapot)
		return true
	})
	r.Intercept(registrytest.Reset()) // never reached
	get(t, r, path)
	r.ResetIntercepts()
	get(t, r, path)
	r.Intercept(func(http.ResponseWriter, *http.Request) bool { return true })
	get(t, r, path)
	if got, want := statuses(r), []int{418, 200, 200}; !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
}

func TestAnswerFirst(t *testing.T) {
	r, path := withBlob(t)
	header := http.Header{"Retry-After": {"2"}}
	r.Intercept(registrytest.Answer(503, header, registrytest.Of(registrytest.KindBlob), registrytest.First(2)))
	get(t, r, "/v2/")
	if got := get(t, r, path); got.header.Get("Retry-After") != "2" {
		t.Errorf("headers %v, want Retry-After", got.header)
	}
	get(t, r, path)
	get(t, r, path)
	if got, want := statuses(r), []int{200, 503, 503, 200}; !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
}

func TestTruncate(t *testing.T) {
	for name, options := range map[string][]registrytest.Option{"http": nil, "https": {registrytest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			r, path := withBlob(t, options...)
			r.Intercept(r.Truncate(4, registrytest.First(1, registrytest.Of(registrytest.KindBlob))))
			got := get(t, r, path)
			if got.body != body[:4] || got.header.Get("Content-Length") != "10" || !errors.Is(got.err, syscall.ECONNRESET) {
				t.Errorf("got %q of %s bytes and error %v", got.body, got.header.Get("Content-Length"), got.err)
			}
			if got := get(t, r, path); got.body != body || got.err != nil {
				t.Errorf("second request: %q, %v", got.body, got.err)
			}
		})
	}
}

func TestReset(t *testing.T) {
	r, path := withBlob(t)
	r.Intercept(registrytest.Reset(registrytest.In("org/app")))
	answer, err := client(t, r).Do(request(t, http.MethodGet, r.URL()+path))
	if err == nil {
		answer.Body.Close()
		t.Fatalf("status %d, want an error", answer.StatusCode)
	}
	if got, want := lines(r)[0], "no answer"; !strings.HasSuffix(got, want) {
		t.Errorf("log %q, want %q at its end", got, want)
	}
}

func TestRedirect(t *testing.T) {
	r, path := withBlob(t)
	other, _ := withBlob(t)
	r.Intercept(registrytest.Redirect(other.URL(), registrytest.Of(registrytest.KindBlob)))
	if got := get(t, r, path); got.body != body {
		t.Errorf("got %d %q", got.status, got.body)
	}
	if r.Log()[0].Status != http.StatusTemporaryRedirect || other.Count(registrytest.Of(registrytest.KindBlob)) != 1 {
		t.Errorf("logs %q and %q", lines(r), lines(other))
	}
}

func TestIgnoreRange(t *testing.T) {
	r, path := withBlob(t)
	r.Intercept(registrytest.IgnoreRange())
	req := request(t, http.MethodGet, r.URL()+path)
	req.Header.Set("Range", "bytes=5-")
	if got := do(t, r, req); got.status != http.StatusOK || got.body != body {
		t.Errorf("got %d %q", got.status, got.body)
	}
	if r.Log()[0].Range != "bytes=5-" {
		t.Errorf("log %q lost the range", lines(r))
	}
}

func TestStallEndsWithTheClient(t *testing.T) {
	r, path := withBlob(t)
	arrived, stall := make(chan struct{}), r.Stall()
	r.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		close(arrived)
		return stall(w, req)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	answer, err := client(t, r).Do(request(t, http.MethodGet, r.URL()+path).WithContext(ctx))
	if err == nil {
		answer.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestStallEndsWithTheRegistry(t *testing.T) {
	r := registrytest.New()
	d := r.PutBlob("org/app", "text/plain", []byte(body))
	r.Intercept(r.StallAt(4))
	answer, err := client(t, r).Do(request(t, http.MethodGet, r.URL()+"/v2/org/app/blobs/"+d.Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	start := make([]byte, 4)
	if _, err := io.ReadFull(answer.Body, start); err != nil || string(start) != body[:4] {
		t.Errorf("got %q, %v", start, err)
	}
	r.Close()
	if rest, err := io.ReadAll(answer.Body); err == nil || len(rest) > 0 {
		t.Errorf("got %q and error %v after Close", rest, err)
	}
}

func statuses(r *registrytest.Registry) []int {
	var all []int
	for _, q := range r.Log() {
		all = append(all, q.Status)
	}
	return all
}
