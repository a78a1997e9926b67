package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
	"github.com/nestedoci/nested/remotes/transport/callers"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// behind asks the registry behind a front for what pushing is about, as an
// [http.RoundTripper]: with the credential of the caller that a request's context
// has. URLs have the registry's name as host, and the paths of the distribution
// spec. Where an upload goes on is such a path, too, in which the registry's own
// URL is sealed for the repository and the user, so that any replica can go on.
type behind struct {
	registries *registry.Client
	seals      seals
}

// passedOn are the headers of a client's request that the registry gets.
var passedOn = []string{"Accept", "Content-Type", "Content-Range"}

// RoundTrip implements [http.RoundTripper].
func (b *behind) RoundTrip(r *http.Request) (*http.Response, error) {
	w, err := b.read(r)
	if err != nil {
		return nil, err
	}
	subject := b.subjectOf(r.Context(), w)
	resp, err := b.registries.Send(r.Context(), w.Request, w.mounted...)
	if err != nil {
		return nil, err
	}
	if subject != "" && resp.StatusCode == http.StatusAccepted {
		if failed := b.registries.UnlistReferrer(r.Context(), w.Repository, subject, digest.Digest(w.reference)); failed != nil {
			log.G(r.Context()).WithError(failed).Warn("a deleted manifest is listed still")
		}
	}
	if resp, err = answerOf(w.Request, resp); err != nil {
		return nil, err
	}
	if location := resp.Header.Get("Location"); location != "" {
		resp.Header.Set("Location", b.location(w, resp.StatusCode, location))
	}
	if w.data != nil && resp.StatusCode == http.StatusCreated {
		err = b.list(r.Context(), w, resp)
	}
	if err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	resp.Request = r
	return resp, nil
}

// written is a request to write, read.
type written struct {
	registry.Request
	mounted   []auth.Repository
	reference string // in the path
	upload    bool   // to /blobs/uploads/
	purpose   string // of what is sealed
	data      []byte // of a manifest
	done      string // the path of what is there when it is answered with 201
}

// read reads a request. Errors are of type [find.Failure].
func (b *behind) read(r *http.Request) (written, error) {
	e, _ := apipath.Parse(r.URL.Path)
	w := written{reference: e.Reference, upload: e.Word == apipath.Uploads}
	repository, err := auth.ParseRepository(r.URL.Host + "/" + e.Name)
	if err != nil {
		return w, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: err.Error()}
	}
	query := r.URL.Query()
	w.Request = registry.Request{Repository: repository, Method: r.Method, Path: e.Word + "/" + e.Reference, Query: query, Header: answers.Kept(r.Header, passedOn)}
	w.purpose = repository.String() + " " + callers.Of(r.Context()).Username
	switch {
	case w.upload && e.Reference != "":
		err = b.goOn(&w, e.Reference)
	case w.upload:
		w.mounted, err = mountedFrom(repository, query)
	}
	if err == nil && r.Body != nil && r.Body != http.NoBody {
		err = w.take(r)
	}
	if d := cmp.Or(query.Get("digest"), query.Get("mount")); !w.upload {
		w.done = r.URL.Path
	} else if d != "" {
		w.done = apipath.Path{Name: e.Name, Word: apipath.Blobs, Reference: d}.String()
	}
	return w, err
}

// take takes the content that is sent: a manifest as a whole, so that it can be
// sent again, all else as it comes.
func (w *written) take(r *http.Request) (err error) {
	if w.upload || w.Method != http.MethodPut {
		w.Stream, w.Size = r.Body, r.ContentLength
		return nil
	}
	w.data, err = io.ReadAll(r.Body)
	w.Body = w.data
	return err
}

// goOn is for a request about an upload that goes on.
func (b *behind) goOn(w *written, sealed string) error {
	location, err := b.seals.open(sealed, w.purpose)
	if err == nil {
		w.At, err = url.Parse(location)
	}
	if err != nil {
		return &find.Failure{Status: http.StatusNotFound, Code: "BLOB_UPLOAD_UNKNOWN", Message: fmt.Sprintf("upload to %s: %v; begin it again", w.Repository, err)}
	}
	if d := w.Query.Get("digest"); d != "" { // of the client's query nothing else is about an upload
		values := w.At.Query()
		values.Set("digest", d)
		w.At.RawQuery = values.Encode()
	}
	return nil
}

// mountedFrom is where a blob is to be mounted from, if a query says so.
func mountedFrom(to auth.Repository, query url.Values) ([]auth.Repository, error) {
	if query.Get("mount") == "" || query.Get("from") == "" {
		return nil, nil
	}
	from, err := auth.ParseRepository(to.Host() + "/" + query.Get("from"))
	if err != nil {
		return nil, &find.Failure{Status: http.StatusBadRequest, Code: "NAME_INVALID", Message: err.Error()}
	}
	return []auth.Repository{from}, nil
}

// location is a Location of the registry as the client gets it.
func (b *behind) location(w written, status int, location string) string {
	if status != http.StatusCreated && w.upload { // also of 204 and 416, which say how far it is
		return apipath.Path{Name: w.Repository.Name(), Word: apipath.Uploads, Reference: b.seals.seal(location, w.purpose)}.String()
	}
	return w.done
}

// list lists a manifest that has a subject among the referrers of that, where the
// registry does not: clients hear from a front that it does.
func (b *behind) list(ctx context.Context, w written, resp *http.Response) error {
	desc := oci.Describe(registry.MediaType(w.Header.Get("Content-Type")), w.data, digest.Digest(w.reference))
	subject, _ := oci.DescribeReferrer(desc, w.data)
	if subject == "" || resp.Header.Get("Oci-Subject") != "" {
		return nil
	}
	if err := b.registries.ListReferrer(ctx, w.Repository, desc, w.data); err != nil {
		return err
	}
	resp.Header.Set("Oci-Subject", subject.String())
	return nil
}

// subjectOf returns the subject of a manifest that is about to be deleted, "" when
// there is none or the caller may not read it.
func (b *behind) subjectOf(ctx context.Context, w written) digest.Digest {
	if w.Method != http.MethodDelete || !strings.HasPrefix(w.Path, "manifests/") || digest.Digest(w.reference).Validate() != nil {
		return ""
	}
	resp, err := b.registries.Send(ctx, registry.Request{Repository: w.Repository, Method: http.MethodGet, Path: w.Path, Header: http.Header{"Accept": {registry.Accept("")}}})
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxManifest))
	subject, _ := oci.DescribeReferrer(ocispec.Descriptor{}, data)
	if err != nil || resp.StatusCode != http.StatusOK || subject.Validate() != nil {
		return ""
	}
	return subject
}
