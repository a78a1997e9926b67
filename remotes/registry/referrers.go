package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// maxPages bounds the pages of a list. Together they may be as large as an
// index.
const maxPages = 100

// FetchReferrers implements remotes.ReferrersFetcher (distribution spec,
// "Listing Referrers"). containerd's own fetcher treats a failure as an empty
// list, and reads only the first page. Where no host has the API, a tag may
// hold the list; its entries count when they state the subject themselves.
func (f fetcher) FetchReferrers(ctx context.Context, d digest.Digest, opts ...remotes.FetchReferrersOpt) ([]ocispec.Descriptor, error) {
	config := remotes.FetchReferrersConfig{QueryFilters: url.Values{}}
	for _, opt := range opts {
		if err := opt(ctx, &config); err != nil {
			return nil, err
		}
	}
	query := maps.Clone(config.QueryFilters)
	query["artifactType"] = config.ArtifactTypes
	listed, byTag, err := f.listReferrers(ctx, d, query)
	if err == nil && byTag {
		listed, err = oci.SelectReferrers(ctx, listed, func(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
			data, unread := readFrom(ctx, f, desc)
			return oci.Refers(data, d), unread
		})
	}
	return slices.DeleteFunc(listed, func(d ocispec.Descriptor) bool {
		return len(config.ArtifactTypes) > 0 && !slices.Contains(config.ArtifactTypes, d.ArtifactType)
	}), err
}

// ListReferrers lists what the registry says refers to content, by its API or
// by a tag, whether or not the entries state the subject. Errors: as for Fetch;
// a list that cannot be read is an error, a missing one is not.
func (f fetcher) ListReferrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	listed, _, err := f.listReferrers(ctx, d, nil)
	return listed, err
}

// listReferrers lists what is said to refer to content: by the referrers API
// or, where no host has that, by the tag for the list.
func (f fetcher) listReferrers(ctx context.Context, d digest.Digest, query url.Values) (listed []ocispec.Descriptor, byTag bool, err error) {
	listed, err = f.listAt(ctx, docker.HostCapabilityReferrers, "referrers/"+d.String(), query, nil)
	// A denial may be one of this path alone.
	if err == nil || !isAbsent(err) && !isDenial(err) {
		return listed, false, err
	}
	listed, tagErr := f.listAt(ctx, docker.HostCapabilityResolve, "manifests/"+oci.ReferrersTag(d), nil, &d)
	switch {
	case tagErr == nil:
		return listed, true, nil
	case isDenial(err): // nor does the tag say that there are none
		return nil, false, err
	case errdefs.IsNotFound(tagErr):
		return nil, true, nil
	}
	return nil, true, tagErr
}

// absentError is the error of a host that does not have a list. Its class is
// errdefs.ErrNotFound.
type absentError struct{ error }

func (e absentError) Unwrap() []error { return []error{e.error, errdefs.ErrNotFound} }

func isAbsent(err error) bool {
	_, ok := errors.AsType[absentError](err)
	return ok || errdefs.IsNotFound(err)
}

// listAt requests a list from the hosts, one after the other. The list is
// absent, errdefs.ErrNotFound, only when all hosts say so. A tag's list has to
// be one of the subject's referrers.
func (f fetcher) listAt(ctx context.Context, capability docker.HostCapabilities, path string, query url.Values, subject *digest.Digest) ([]ocispec.Descriptor, error) {
	var failed error
	for h := range inOrder(f.hosts, capability) {
		var listed []ocispec.Descriptor
		var err error
		if subject == nil {
			listed, err = f.list(ctx, h, Request{Repository: f.repository, Method: http.MethodGet, Path: path, Query: query, Header: accept(ocispec.MediaTypeImageIndex)})
		} else {
			listed, _, err = f.tagged(ctx, h, *subject)
		}
		switch {
		case err == nil:
			return listed, nil
		case !isAbsent(err):
			failed = err
		}
	}
	if failed == nil {
		failed = fmt.Errorf("%s: %s: %w", f.repository, path, errdefs.ErrNotFound)
	}
	return nil, failed
}

// list reads all pages of a list of the referrers API.
func (f fetcher) list(ctx context.Context, h Host, q Request) ([]ocispec.Descriptor, error) {
	var all []ocispec.Descriptor
	left := int64(oci.MaxManifest)
	for page := range maxPages {
		resp, err := h.Do(ctx, q)
		if err != nil {
			return nil, explain(ctx, []Host{h}, err)
		}
		if err = f.hasList(ctx, h, resp); isAbsent(err) && page > 0 {
			return nil, fmt.Errorf("page %d: %v", page+1, err) //nolint:errorlint // the list is there
		}
		if err != nil {
			return nil, err
		}
		listed, err := f.readPage(resp, &left)
		if err != nil {
			return nil, err
		}
		all = append(all, listed...)
		var more bool
		if q.Query, more, err = NextPage(resp); err != nil {
			return nil, fmt.Errorf("%s: %w", f.repository, err)
		}
		if !more {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s: %s has more than %d pages", f.repository, h.URL(q).Path, maxPages)
}

// hasList refuses, and closes, an answer that shows that a host does not have
// the referrers API.
func (f fetcher) hasList(ctx context.Context, h Host, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK && !IsPage(resp.Header.Get("Content-Type")) {
		return nil
	}
	status := ReadStatusError(resp)
	err := errors.Join(status.by(ctx, []Host{h}), resp.Body.Close())
	if LacksReferrers(resp, status.Complaint().Code) {
		what := resp.Status
		if IsPage(resp.Header.Get("Content-Type")) {
			what = "a web page"
		}
		err = absentError{fmt.Errorf("%s: no referrers API, %s answers with %s", f.repository, sanitize.Quote(h.Host), sanitize.Quote(what))}
	}
	return err
}

// LacksReferrers reports whether the answer to a request for referrers shows
// that the host does not have that API. The distribution spec defines one
// status for that, 404, but registries, and proxies before them, answer unknown
// paths with many others, and with web pages. code is that of the body, in the
// distribution spec's form of errors: a denial in a registry's own words is a
// denial, and does not say that there are no referrers.
func LacksReferrers(resp *http.Response, code string) bool {
	switch status := resp.StatusCode; status {
	case http.StatusOK:
		return IsPage(resp.Header.Get("Content-Type"))
	case http.StatusForbidden:
		return code != "DENIED" && code != "UNAUTHORIZED"
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	default:
		return status/100 == 3 || status/100 == 4 || status == http.StatusNotImplemented
	}
}

// readPage reads a complete answer, which has to be a page of a list.
func (f fetcher) readPage(resp *http.Response, left *int64) ([]ocispec.Descriptor, error) {
	path := resp.Request.URL.Path
	data, err := io.ReadAll(io.LimitReader(resp.Body, *left+1))
	err = errors.Join(err, resp.Body.Close())
	if *left -= int64(len(data)); *left < 0 {
		err = errors.New("larger than an index may be")
	}
	var listed []ocispec.Descriptor
	switch {
	case err == nil && isMarkup(data):
		err = absentError{errors.New("a web page, so no referrers API")}
	case err == nil:
		listed, err = readList(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", f.repository, path, err)
	}
	return listed, nil
}

// readList reads an index as a list of descriptors.
func readList(data []byte) ([]ocispec.Descriptor, error) {
	var listed []ocispec.Descriptor
	entries, ok := entriesOf(data)
	if !ok || json.Unmarshal(entries, &listed) != nil {
		return nil, errors.New("not an index, so not a list of descriptors")
	}
	return listed, nil
}

// IsList reports whether data is an index, as a list of referrers is. Other
// content is not an empty list. The entries are not checked.
func IsList(data []byte) bool {
	_, ok := entriesOf(data)
	return ok
}

// entriesOf returns an index's manifests[], which may be null when it has none.
func entriesOf(data []byte) (json.RawMessage, bool) {
	var index map[string]json.RawMessage
	var mediaType string
	if json.Unmarshal(data, &index) != nil || len(index["mediaType"]) > 0 && json.Unmarshal(index["mediaType"], &mediaType) != nil {
		return nil, false
	}
	entries, ok := index["manifests"]
	return entries, ok && (mediaType == "" || images.IsIndexType(mediaType))
}

// tagged is the state of a tag that holds a list.
type tagged struct {
	missing bool
	etag    string // empty: none, or a weak one
}

// tagged reads the list under a tag. Some registries answer such a tag with the
// subject itself, which lists nothing.
func (f fetcher) tagged(ctx context.Context, h Host, subject digest.Digest) ([]ocispec.Descriptor, tagged, error) {
	q := Request{Repository: f.repository, Method: http.MethodGet, Path: "manifests/" + oci.ReferrersTag(subject), Header: accept(
		ocispec.MediaTypeImageIndex, images.MediaTypeDockerSchema2ManifestList,
		ocispec.MediaTypeImageManifest, images.MediaTypeDockerSchema2Manifest, "*/*")}
	resp, err := h.doOK(ctx, q)
	if err != nil {
		return nil, tagged{missing: errdefs.IsNotFound(err)}, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxManifest+1))
	if err = errors.Join(err, resp.Body.Close()); err == nil && int64(len(data)) > oci.MaxManifest {
		err = errors.New("larger than an index may be")
	}
	var listed []ocispec.Descriptor
	switch {
	case err != nil:
	case subject.Algorithm().FromBytes(data) == subject:
		err = absentError{errors.New("the tag stands for the subject itself")}
	default:
		listed, err = readList(data)
	}
	if err != nil {
		return nil, tagged{}, fmt.Errorf("%s: %s: %w", f.repository, h.URL(q).Path, err)
	}
	etag := resp.Header.Get("Etag")
	if !strings.HasPrefix(etag, `"`) {
		etag = "" // If-Match wants a strong one
	}
	return listed, tagged{etag: etag}, nil
}

// readFrom fetches and verifies a manifest or index, within the size limit for
// them.
func readFrom(ctx context.Context, f remotes.Fetcher, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > oci.MaxManifest {
		return nil, fmt.Errorf("%s: %d bytes are more than a manifest may have", desc.Digest, desc.Size)
	}
	body, err := f.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	data, err := oci.ReadVerified(body, desc)
	return data, errors.Join(err, body.Close())
}

// isDenial reports whether a registry denied a request, so that another request
// may still be allowed. A credential that was refused as such is not a denial.
func isDenial(err error) bool {
	denied, ok := errors.AsType[*auth.DeniedError](err)
	return ok && !denied.Refused
}
