package registrytest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pushes makes a registry take what is pushed to it, as far as that is sent in one piece, and mount
// blobs of repositories that the same caller may pull from. Whoever may pull may push. Conditions
// (If-Match, If-None-Match) on a manifest are minded when minds is true, as few registries do. It does
// not say OCI-Subject: a registry with the referrers API does, which an interceptor before it can add
// or take away.
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
	mount, from := req.URL.Query().Get("mount"), q
	from.Repository = req.URL.Query().Get("from")
	if found, ok := r.blob(from.Repository, mount); ok && r.authorize(req, from) == nil {
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
		refuse(w, req, http.StatusBadRequest, "DIGEST_INVALID")
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
	dgst := digest.Digest(q.Reference)
	if dgst.Validate() != nil {
		dgst = digest.FromBytes(body)
		r.Tag(q.Repository, q.Reference, dgst)
	} else if dgst.Algorithm().FromBytes(body) != dgst {
		refuse(w, req, http.StatusBadRequest, "DIGEST_INVALID")
		return
	}
	r.PutAs(q.Repository, req.Header.Get("Content-Type"), dgst, body)
	w.Header().Set("Docker-Content-Digest", dgst.String())
	w.WriteHeader(http.StatusCreated)
}

// Insists makes a registry refuse, with a status and a code, manifests and indexes that name what their
// repository does not have, as most do. Put it before [Registry.Pushes].
func (r *Registry) Insists(status int, code string) Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		q := Describe(req)
		if req.Method != http.MethodPut || q.Kind != KindManifest || r.authorize(req, q) != nil {
			return false
		}
		body, err := io.ReadAll(req.Body)
		if err == nil && !r.lacks(q.Repository, body) {
			req.Body = io.NopCloser(bytes.NewReader(body))
			return false
		}
		refuse(w, req, status, code)
		return true
	}
}

// lacks reports whether a manifest or index names what a repository does not have.
func (r *Registry) lacks(repository string, body []byte) bool {
	var m struct {
		Config            *ocispec.Descriptor
		Layers, Manifests []ocispec.Descriptor
	}
	if json.Unmarshal(body, &m) != nil {
		return true
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, d := range m.Layers {
		if _, ok := r.blob(repository, d.Digest.String()); !ok {
			return true
		}
	}
	for _, d := range m.Manifests {
		if _, _, ok := r.manifest(repository, d.Digest.String()); !ok {
			return true
		}
	}
	return false
}

// Deletes makes a registry delete what it is told to: a manifest with the tags that name it, a tag, or a
// blob. Whoever may pull may delete.
func (r *Registry) Deletes() Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		q := Describe(req)
		if req.Method != http.MethodDelete || q.Kind != KindManifest && q.Kind != KindBlob || r.authorize(req, q) != nil {
			return false
		}
		if !r.remove(q) {
			refuse(w, req, http.StatusNotFound, map[Kind]string{KindManifest: "MANIFEST_UNKNOWN", KindBlob: "BLOB_UNKNOWN"}[q.Kind])
			return true
		}
		w.WriteHeader(http.StatusAccepted)
		return true
	}
}

func refuse(w http.ResponseWriter, req *http.Request, status int, code string) {
	writeJSON(w, req, status, "application/json", map[string]any{"errors": []map[string]string{{"code": code}}})
}
