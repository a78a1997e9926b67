package registrytest

import (
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
)

// Pushes makes a registry take what is pushed to it, as far as that is sent in one piece, and mount
// blobs. Whoever may pull may push. Conditions (If-Match, If-None-Match) on a manifest are minded
// when minds is true, as few registries do. It does not say OCI-Subject: a registry with the
// referrers API does, which an interceptor before it can add or take away.
func (r *Registry) Pushes(minds bool) Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		q := Describe(req)
		put := req.Method == http.MethodPut && (q.Kind == KindManifest || q.Kind == KindUpload)
		if !put && (req.Method != http.MethodPost || q.Kind != KindUpload) || r.authorize(req, q) != nil {
			return false
		}
		switch {
		case req.Method == http.MethodPost:
			r.begin(w, req, q)
		case q.Kind == KindManifest:
			r.take(w, req, q, minds)
		default:
			r.takeBlob(w, req, q)
		}
		return true
	}
}

// begin mounts a blob, or begins an upload.
func (r *Registry) begin(w http.ResponseWriter, req *http.Request, q Request) {
	mount := req.URL.Query().Get("mount")
	if found, ok := r.blob(req.URL.Query().Get("from"), mount); ok {
		r.PutBlobAs(q.Repository, digest.Digest(mount), found.body)
		w.WriteHeader(http.StatusCreated)
		return
	}
	w.Header().Set("Location", "/v2/"+q.Repository+"/blobs/uploads/1")
	w.WriteHeader(http.StatusAccepted)
}

func (r *Registry) takeBlob(w http.ResponseWriter, req *http.Request, q Request) {
	body, err := io.ReadAll(req.Body)
	dgst := digest.Digest(req.URL.Query().Get("digest"))
	if err != nil || dgst.Validate() != nil || dgst.Algorithm().FromBytes(body) != dgst {
		writeJSON(w, req, http.StatusBadRequest, "application/json", map[string]any{"errors": []map[string]string{{"code": "DIGEST_INVALID"}}})
		return
	}
	r.PutBlobAs(q.Repository, dgst, body)
	w.WriteHeader(http.StatusCreated)
}

func (r *Registry) take(w http.ResponseWriter, req *http.Request, q Request, minds bool) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, was, there := r.manifest(q.Repository, q.Reference)
	match := req.Header.Get("If-Match")
	if minds && (there && req.Header.Get("If-None-Match") == "*" || match != "" && (!there || match != `"`+was.String()+`"`)) {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	d := r.Put(q.Repository, req.Header.Get("Content-Type"), body)
	if digest.Digest(q.Reference).Validate() != nil {
		r.Tag(q.Repository, q.Reference, d.Digest)
	}
	w.Header().Set("Docker-Content-Digest", d.Digest.String())
	w.WriteHeader(http.StatusCreated)
}
