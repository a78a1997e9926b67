package registrytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// serve logs a request, offers it to the interceptors, and answers it.
func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	q := Describe(req)
	r.describeBearer(&q)
	r.log.add(&q)
	rec := &recorder{ResponseWriter: w, log: &r.log, entry: &q}
	if !r.intercepted(rec, req) {
		r.answer(rec, req)
	}
	rec.finish()
}

func (r *Registry) intercepted(w http.ResponseWriter, req *http.Request) bool {
	r.mu.Lock()
	interceptors := slices.Clone(r.interceptors)
	r.mu.Unlock()
	return slices.ContainsFunc(interceptors, func(f Interceptor) bool { return f(w, req) })
}

// answer is the funnel that turns errors into answers.
func (r *Registry) answer(w http.ResponseWriter, req *http.Request) {
	err := r.handle(w, req)
	if err == nil {
		return
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{status: http.StatusInternalServerError, code: "UNKNOWN", message: err.Error()}
	}
	if f.challenge != "" {
		w.Header().Set("WWW-Authenticate", f.challenge)
	}
	writeJSON(w, req, f.status, "application/json", map[string]any{
		"errors": []map[string]string{{"code": f.code, "message": f.message}},
	})
}

// failure is an error with its answer.
type failure struct {
	status        int
	code, message string
	challenge     string
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func notFound(code, what string) error {
	return &failure{status: http.StatusNotFound, code: code, message: what + " unknown to registry"}
}

func (r *Registry) handle(w http.ResponseWriter, req *http.Request) error {
	q := Describe(req)
	switch q.Kind {
	case KindToken:
		return r.serveToken(w, req, q)
	case KindOther:
		return notFound("NOT_FOUND", "path")
	}
	if err := r.authorize(req, q); err != nil {
		return err
	}
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		return &failure{status: http.StatusMethodNotAllowed, code: "UNSUPPORTED", message: "the registry is read-only"}
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	switch q.Kind {
	case KindManifest:
		return r.serveManifest(w, req, q)
	case KindBlob:
		return r.serveBlob(w, req, q)
	case KindReferrers:
		return r.serveReferrers(w, req, q)
	case KindTags:
		return r.serveTags(w, req, q)
	case KindSupport:
		return r.serveSupport(w, req)
	}
	writeJSON(w, req, http.StatusOK, "application/json", struct{}{})
	return nil
}

func (r *Registry) serveManifest(w http.ResponseWriter, req *http.Request, q Request) error {
	found, dgst, ok := r.manifest(q.Repository, q.Reference)
	if !ok {
		return notFound("MANIFEST_UNKNOWN", "manifest")
	}
	w.Header().Set("Docker-Content-Digest", dgst.String())
	w.Header().Set("Etag", `"`+dgst.String()+`"`)
	write(w, req, http.StatusOK, found.mediaType, found.body)
	return nil
}

// serveBlob leaves HEAD, Range and If-Range to net/http.
func (r *Registry) serveBlob(w http.ResponseWriter, req *http.Request, q Request) error {
	found, ok := r.blob(q.Repository, q.Reference)
	if !ok {
		return notFound("BLOB_UNKNOWN", "blob")
	}
	w.Header().Set("Docker-Content-Digest", q.Reference)
	w.Header().Set("Etag", `"`+q.Reference+`"`)
	w.Header().Set("Content-Type", found.mediaType)
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(found.body))
	return nil
}

func (r *Registry) serveSupport(w http.ResponseWriter, req *http.Request) error {
	if r.config.support == "" {
		return notFound("NOT_FOUND", "path")
	}
	write(w, req, http.StatusOK, "application/json", []byte(r.config.support))
	return nil
}

func (r *Registry) serveReferrers(w http.ResponseWriter, req *http.Request, q Request) error {
	found := r.referrers(q.Repository, digest.Digest(q.Reference))
	if kind := req.URL.Query().Get("artifactType"); kind != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
		found = slices.DeleteFunc(found, func(d ocispec.Descriptor) bool { return d.ArtifactType != kind })
	}
	begin, _ := strconv.Atoi(req.URL.Query().Get("last")) // 0 for the first page
	if begin < 0 || begin > len(found) {
		return notFound("NAME_INVALID", "page")
	}
	found = found[begin:]
	if size := r.config.page; size > 0 && len(found) > size {
		found = found[:size]
		w.Header().Set("Link", fmt.Sprintf(`<%s?last=%d>; rel="next"`, req.URL.Path, begin+size))
	}
	writeJSON(w, req, http.StatusOK, ocispec.MediaTypeImageIndex, newIndex(found))
	return nil
}

func newIndex(members []ocispec.Descriptor) ocispec.Index {
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: members,
	}
}

func (r *Registry) serveTags(w http.ResponseWriter, req *http.Request, q Request) error {
	tags, ok := r.tagList(q.Repository)
	if !ok {
		return notFound("NAME_UNKNOWN", "repository name")
	}
	writeJSON(w, req, http.StatusOK, "application/json", map[string]any{"name": q.Repository, "tags": tags})
	return nil
}

func writeJSON(w http.ResponseWriter, req *http.Request, status int, mediaType string, value any) {
	body, err := json.Marshal(value)
	must(err)
	write(w, req, status, mediaType, body)
}

func write(w http.ResponseWriter, req *http.Request, status int, mediaType string, body []byte) {
	if mediaType == "" {
		w.Header()["Content-Type"] = nil // or net/http guesses one
	} else {
		w.Header().Set("Content-Type", mediaType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that went away is the client's affair
	}
}

// recorder notes the status in the log before the client can see it.
type recorder struct {
	http.ResponseWriter
	log      *requestLog
	entry    *Request
	answered bool
}

func (w *recorder) WriteHeader(status int) {
	if !w.answered && status >= http.StatusOK {
		w.answered = true
		w.log.setStatus(w.entry, status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if !w.answered {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Hijack counts as answered: the log then says what was written before, if anything.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.answered = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController flush.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish notes the 200 that net/http sends for a handler that wrote nothing.
func (w *recorder) finish() {
	if !w.answered {
		w.WriteHeader(http.StatusOK)
	}
}
