package registrytest

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"
)

// Interceptor sees a request before the registry does and reports whether it has dealt with it. It
// may also change the request and let it pass.
type Interceptor func(http.ResponseWriter, *http.Request) bool

// Intercept adds an interceptor; the first that deals with a request wins. What it writes is logged
// like the registry's own answers.
func (r *Registry) Intercept(f Interceptor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interceptors = append(r.interceptors, f)
}

// ResetIntercepts removes all interceptors.
func (r *Registry) ResetIntercepts() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interceptors = nil
}

// First matches the first n requests that it is asked about and that all filters match. Put it last:
// what an earlier filter left out is not counted.
func First(n int, filters ...Filter) Filter {
	var seen atomic.Int64
	return func(q Request) bool { return all(q, filters) && seen.Add(1) <= int64(n) }
}

// when makes an interceptor of an action on the requests that all filters match.
func when(filters []Filter, action http.HandlerFunc) Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if !all(Describe(req), filters) {
			return false
		}
		action(w, req)
		return true
	}
}

// Answer answers with a status, and with headers unless nil.
func Answer(status int, header http.Header, filters ...Filter) Interceptor {
	return when(filters, func(w http.ResponseWriter, req *http.Request) {
		for name, values := range header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		writeJSON(w, req, status, "application/json", map[string]any{
			"errors": []map[string]string{{"code": "UNKNOWN", "message": http.StatusText(status)}},
		})
	})
}

// Say answers with a status and a body of a media type, none when it is empty, to HEAD with their headers alone.
func Say(status int, mediaType, body string, filters ...Filter) Interceptor {
	return when(filters, func(w http.ResponseWriter, req *http.Request) {
		write(w, req, status, mediaType, []byte(body))
	})
}

// Redirect answers 307 to the same path at another base URL, such as another Registry's.
func Redirect(base string, filters ...Filter) Interceptor {
	return when(filters, func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, strings.TrimSuffix(base, "/")+req.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
}

// Prefixed adds a prefix to repositories that clients do not know about, as
// proxies that rewrite paths do. Challenges name repositories with it, and only
// tokens for those are accepted.
func Prefixed(prefix string) Interceptor {
	return func(_ http.ResponseWriter, req *http.Request) bool {
		if rest, ok := strings.CutPrefix(req.URL.Path, "/v2/"); ok && rest != "" {
			req.URL.Path = "/v2/" + prefix + "/" + rest
		}
		return false
	}
}

// IgnoreRange answers requests for a part of a blob with the complete blob.
func IgnoreRange(filters ...Filter) Interceptor {
	return func(_ http.ResponseWriter, req *http.Request) bool {
		if all(Describe(req), filters) {
			req.Header.Del("Range")
		}
		return false
	}
}

// Reset resets the connection instead of an answer.
func Reset(filters ...Filter) Interceptor {
	return when(filters, func(w http.ResponseWriter, _ *http.Request) { reset(w) })
}

// Truncate resets the connection after the answer's headers and the first n bytes of its body.
func (r *Registry) Truncate(n int, filters ...Filter) Interceptor {
	return when(filters, func(w http.ResponseWriter, req *http.Request) {
		r.answerPart(w, req, n)
		reset(w)
	})
}

// Delay lets requests wait before they are dealt with.
func (r *Registry) Delay(d time.Duration, filters ...Filter) Interceptor {
	return func(_ http.ResponseWriter, req *http.Request) bool {
		if all(Describe(req), filters) {
			r.wait(req, d)
		}
		return false
	}
}

// wait ends early when the client goes away or the registry is closed.
func (r *Registry) wait(req *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-req.Context().Done():
	case <-r.closed:
	}
}

// Trickle sends the body of the registry's own answer n bytes at a time, with a pause after each.
func (r *Registry) Trickle(n int, pause time.Duration, filters ...Filter) Interceptor {
	return when(filters, func(w http.ResponseWriter, req *http.Request) {
		body := r.answerPart(w, req, 0)
		for len(body) > 0 && req.Context().Err() == nil {
			n = min(n, len(body))
			_, _ = w.Write(body[:n])
			_ = http.NewResponseController(w).Flush()
			body = body[n:]
			r.wait(req, pause)
		}
	})
}

// Stall gives no answer until the client goes away or the registry is closed.
func (r *Registry) Stall(filters ...Filter) Interceptor {
	return when(filters, r.stall)
}

// StallAt is Stall after the answer's headers and the first n bytes of its body.
func (r *Registry) StallAt(n int, filters ...Filter) Interceptor {
	return when(filters, func(w http.ResponseWriter, req *http.Request) {
		r.answerPart(w, req, n)
		r.stall(w, req)
	})
}

func (r *Registry) stall(w http.ResponseWriter, req *http.Request) {
	select {
	case <-req.Context().Done():
	case <-r.closed:
	}
	reset(w)
}

// answerPart sends the first n bytes of the registry's own answer, and returns the rest.
func (r *Registry) answerPart(w http.ResponseWriter, req *http.Request, n int) []byte {
	answer := httptest.NewRecorder()
	r.answer(answer, req)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	body := answer.Body.Bytes()
	n = min(n, len(body))
	_, _ = w.Write(body[:n])
	_ = http.NewResponseController(w).Flush()
	return body[n:]
}

// reset closes the connection with a TCP reset, after what was written has arrived.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if secure, ok := conn.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		drain(tcp)
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}
