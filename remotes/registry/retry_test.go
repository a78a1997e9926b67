package registry

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/nestedoci/nested/internal/retry"
)

// TestRetryableIsRetriedAfterItsPause: what may pass is asked for again, after pauses at least as long as the registry asks for; the rest is not.
func TestRetryableIsRetriedAfterItsPause(t *testing.T) {
	t.Parallel()
	const date = "DATE" // of ten seconds later
	for _, test := range []struct {
		name     string
		method   string
		statuses []int  // of the answers, the last of them for ever
		after    string // Retry-After of those that are not 200
		tries    int
		want     int // status; 0 for an error
		at       time.Duration
		until    time.Duration
	}{
		{"200", "GET", []int{200}, "", 1, 200, 0, 0},
		{"503 twice, with a wait", "GET", []int{503, 503, 200}, "2", 3, 200, 4 * time.Second, 5 * time.Second},
		{"502 twice", "GET", []int{502, 502, 200}, "", 3, 200, 300 * time.Millisecond, 2 * time.Second},
		{"429 with a wait", "GET", []int{429, 200}, "1", 2, 200, time.Second, 2 * time.Second},
		{"429 with a date", "GET", []int{429, 200}, date, 2, 200, 9 * time.Second, 11 * time.Second},
		{"429 with a date that is over", "GET", []int{429, 200}, "Fri, 31 Dec 1999 23:59:59 GMT", 2, 200, 0, time.Second},
		{"HEAD", "HEAD", []int{504, 200}, "", 2, 200, 0, time.Second},
		{"429 for a day", "GET", []int{429}, "86400", 1, 0, 0, 0},
		{"503 for ever", "GET", []int{503}, "", 5, 0, time.Second, 8 * time.Second},
		{"503 for ever, with waits", "GET", []int{503}, "25", 3, 0, 50 * time.Second, time.Minute},
		{"a wait that is none", "GET", []int{503, 200}, "soon", 2, 200, 0, time.Second},
		{"500 once", "GET", []int{500, 200}, "", 2, 200, 0, time.Second},
		{"404", "GET", []int{404}, "", 1, 404, 0, 0},
		{"a manifest", "PUT /v2/a/manifests/v1", []int{429, 503, 500, 201}, "2", 4, 201, 6 * time.Second, 10 * time.Second},
		{"a manifest for ever", "PUT /v2/a/manifests/v1", []int{504}, "", 5, 0, time.Second, 8 * time.Second},
		{"a manifest, for a day", "PUT /v2/a/manifests/v1", []int{429}, "86400", 1, 0, 0, 0},
		{"a session", "POST /v2/a/blobs/uploads/", []int{429, 500, 202}, "30", 3, 202, time.Minute, time.Minute},
		{"a mount", "POST /v2/a/blobs/uploads/?mount=sha256:0&from=b", []int{429, 201}, "30", 2, 201, 30 * time.Second, 31 * time.Second},
		{"a mount that fails", "POST /v2/a/blobs/uploads/?mount=sha256:0&from=b", []int{500}, "", 1, 0, 0, 0},
		{"a mount that has to wait", "POST /v2/a/blobs/uploads/?mount=sha256:0&from=b", []int{503, 201}, "2", 2, 201, 2 * time.Second, 3 * time.Second},
		{"a blob", "PUT /v2/a/blobs/uploads/1?digest=sha256:0", []int{429, 201}, "30", 2, 201, 30 * time.Second, 31 * time.Second},
		{"a blob that came in part", "PUT /v2/a/blobs/uploads/1?digest=sha256:0", []int{503}, "", 1, 0, 0, 0},
		{"part of a blob", "PATCH /v2/a/blobs/uploads/1", []int{429, 202}, "", 2, 202, 0, time.Second},
		{"a deletion", "DELETE /v2/a/manifests/v1", []int{503, 202}, "2", 2, 202, 2 * time.Second, 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				method, path, _ := strings.Cut(test.method, " ")
				var body io.Reader // http.NewRequest sets GetBody
				if method == "PUT" || method == "PATCH" {
					body = strings.NewReader("content")
				}
				req, err := http.NewRequestWithContext(t.Context(), method, "https://reg.test"+cmp.Or(path, "/v2/"), body)
				if err != nil {
					t.Fatal(err)
				}
				if test.after == date {
					test.after = time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat)
				}
				tries, began := 0, time.Now()
				resp, err := retryTransport{last: true, next: roundTripper(func(req *http.Request) (*http.Response, error) {
					if body != nil {
						sent, readErr := io.ReadAll(req.Body)
						if readErr != nil || string(sent) != "content" || req.Body.Close() != nil {
							t.Errorf("sent %q, %v", sent, readErr)
						}
					}
					status := test.statuses[min(tries, len(test.statuses)-1)]
					tries++
					header := http.Header{}
					if status >= 300 {
						header.Set("Retry-After", test.after)
					}
					return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader("x")), Request: req}, nil
				})}.RoundTrip(req)
				took := time.Since(began)
				if tries != test.tries || took < test.at || took > test.until {
					t.Errorf("%d tries in %v", tries, took)
				}
				if test.want == 0 {
					wantBusy(t, err, test.after)
				} else if err != nil || resp.StatusCode != test.want || resp.Body.Close() != nil {
					t.Errorf("got %v, %v", resp, err)
				}
			})
		})
	}
}

func wantBusy(t *testing.T, err error, after string) {
	t.Helper()
	if _, ok := errors.AsType[*StatusError](err); !ok || !strings.Contains(err.Error(), "reg.test") {
		t.Errorf("got %v", err)
	}
	if after == "86400" && !strings.Contains(err.Error(), "asking to wait for 24h0m0s") {
		t.Errorf("the wait is not told: %v", err)
	}
}

// TestRetryEnds: who gives up does not wait for the registry.
func TestRetryEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.ErrUnsupported) })
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://reg.test/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := retryTransport{last: true, next: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"30"}}, Body: http.NoBody, Request: req}, nil
		})}.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close() // there should be none
		}
		if took := time.Since(began); !errors.Is(err, errors.ErrUnsupported) || took != time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

// TestRetryInTime: where the next try would be after the end of the request, it ends at once, and says what the registry asked for.
func TestRetryInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		err := new(retry.Tries).Wait(ctx, &StatusError{RetryAfter: 30 * time.Second, ErrUnexpectedStatus: remoteerrors.ErrUnexpectedStatus{StatusCode: 429}})
		if took := time.Since(began); took != 0 || !retry.IsSpent(err) || !strings.Contains(err.Error(), "asking to wait for 30s") {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

// TestRetryHidden: docker's own tries do not come to those of this policy, whatever the failure, and a body that cannot be read
// twice is not sent twice.
func TestRetryHidden(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{io.EOF, io.ErrUnexpectedEOF, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}} {
		for _, method := range []string{"GET", "PUT"} {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				transport := retryTransport{last: true, next: roundTripper(func(*http.Request) (*http.Response, error) {
					tries++
					return nil, failure
				})}
				req, err := http.NewRequestWithContext(t.Context(), method, "https://reg.test/v2/a/blobs/uploads/1", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := (&http.Client{Transport: transport}).Do(req)
				if err == nil {
					_ = resp.Body.Close()
				}
				var timeout net.Error
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &timeout) && timeout.Timeout() || retry.IsBroken(err) {
					t.Errorf("docker would ask again after %v", err)
				}
				if want := map[string]int{"GET": 5, "PUT": 1}[method]; tries != want {
					t.Errorf("%s: %d tries after %v", method, tries, failure)
				}
			})
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "https://reg.test/v2/a/manifests/v1", io.NopCloser(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = rewound(req); err == nil || !strings.Contains(err.Error(), "cannot be read twice") {
		t.Errorf("got %v", err)
	}
}
