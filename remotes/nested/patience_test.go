package nested

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatient: what may pass is asked for again, after pauses at least as long as the registry asks for; the rest is not.
func TestPatient(t *testing.T) {
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
		{"with a body", "PUT", []int{503}, "", 1, 503, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				req, err := http.NewRequestWithContext(t.Context(), test.method, "https://reg.test/v2/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if test.after == date {
					test.after = time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat)
				}
				tries, began := 0, time.Now()
				resp, err := patientTransport{roundTripper(func(*http.Request) (*http.Response, error) {
					status := test.statuses[min(tries, len(test.statuses)-1)]
					tries++
					header := http.Header{}
					if status != 200 {
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
	if _, ok := errors.AsType[answer](err); !ok || !strings.Contains(err.Error(), "reg.test") {
		t.Errorf("got %v", err)
	}
	if after == "86400" && !strings.Contains(err.Error(), "asking to wait for 24h0m0s") {
		t.Errorf("the wait is not told: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestPatientEnds: who gives up does not wait for the registry.
func TestPatientEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://reg.test/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := patientTransport{roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"30"}}, Body: http.NoBody, Request: req}, nil
		})}.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close() // there should be none
		}
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	})
}
