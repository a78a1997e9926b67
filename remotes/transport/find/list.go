package find

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
)

// maxList bounds a page of tags or referrers, in bytes, as an index is bounded.
const maxList = 4 << 20

// findTags finds a page of the tags of the repository.
func (f *Finder) findTags(ctx context.Context, q Request) (*http.Response, error) {
	resp, err := f.upstream.do(ctx, q.repository, query{method: http.MethodGet, kind: Tags, reference: "list", accept: "application/json", values: q.page()})
	if err != nil {
		return nil, err
	}
	return f.readPage(ctx, q, resp)
}

// findReferrers finds a page of what refers to content, from where that
// content is (docs/spec.md, section 4).
func (f *Finder) findReferrers(ctx context.Context, q Request) (*http.Response, error) {
	p, err := f.home(ctx, q, q.digest)
	if err != nil {
		return nil, err
	}
	ask := query{method: http.MethodGet, kind: Referrers, reference: q.digest.String(),
		accept: "application/vnd.oci.image.index.v1+json, */*", values: q.page()}
	resp, served, err := firstAnswer(p, q.repository, func(candidate auth.Repository) (resp *http.Response, err error) {
		resp, err = f.upstream.do(ctx, candidate, ask)
		if err == nil && !isOwn(resp) && registry.LacksReferrers(resp, "") {
			page := &registry.AnswerError{Host: resp.Request.URL.Host, Of: candidate.String(), MediaType: registry.MediaType(resp.Header.Get("Content-Type")), List: true}
			err = fmt.Errorf("%w: %w", page, errdefs.ErrNotFound)
			return nil, errors.Join(err, resp.Body.Close())
		}
		return resp, err
	})
	if f.options.Complete && errdefs.IsNotFound(err) {
		return f.taggedReferrers(ctx, q)
	}
	if err != nil {
		return nil, err
	}
	f.hop(ctx, q, served)
	return f.readPage(ctx, q, resp)
}

// taggedReferrers answers as a registry with a referrers API would: with the list
// under the tag for it (distribution spec, section "Referrers Tag Schema"). When
// there is none, nothing refers to the content.
func (f *Finder) taggedReferrers(ctx context.Context, q Request) (*http.Response, error) {
	list := struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Manifests     []ocispec.Descriptor `json:"manifests"`
	}{SchemaVersion: 2, MediaType: ocispec.MediaTypeImageIndex}
	tagged := q
	tagged.kind, tagged.tag, tagged.digest = Manifests, oci.ReferrersTag(q.digest), ""
	c, err := f.byTag(ctx, tagged)
	switch {
	case errdefs.IsNotFound(err):
	case err != nil:
		return nil, err
	default:
		defer c.close()
		if !images.IsIndexType(c.mediaType) || json.Unmarshal(c.data, &list) != nil {
			return nil, &registry.AnswerError{Host: q.repository.Host(), Of: q.repository.String(), MediaType: c.mediaType, List: true}
		}
	}
	header := http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}}
	if wanted := q.query.Get("artifactType"); wanted != "" {
		list.Manifests = slices.DeleteFunc(list.Manifests, func(d ocispec.Descriptor) bool { return d.ArtifactType != wanted })
		header.Set("Oci-Filters-Applied", "artifactType")
	}
	if list.Manifests == nil {
		list.Manifests = []ocispec.Descriptor{}
	}
	data, err := json.Marshal(list)
	return answers.With(http.StatusOK, header, data), err
}

// page returns the parameters that are passed on to the registry, which
// understands those in its own links.
func (q Request) page() url.Values {
	values := maps.Clone(q.query)
	delete(values, "ns") // ours
	return values
}

// readPage is the answer with a page, all of it, and its link to the next.
func (f *Finder) readPage(ctx context.Context, q Request, resp *http.Response) (*http.Response, error) {
	if isOwn(resp) {
		return resp, nil
	}
	data, _, err := f.readList(ctx, q, resp)
	if err != nil {
		return nil, err
	}
	begin := bytes.TrimSpace(data)
	if !bytes.HasPrefix(begin, []byte("{")) || q.kind == Referrers && !registry.IsList(data) {
		page := &registry.AnswerError{Host: resp.Request.URL.Host, Of: q.repository.String(), MediaType: registry.MediaType(resp.Header.Get("Content-Type")), List: true}
		if q.kind == Referrers && bytes.HasPrefix(begin, []byte("<")) {
			return nil, fmt.Errorf("%w: %w", page, errdefs.ErrNotFound) // as from a registry without the referrers API
		}
		return nil, page
	}
	header := answers.Kept(resp.Header, []string{"Content-Type", "Oci-Filters-Applied"})
	link, err := q.nextPage(resp)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %s: %w", resp.Request.URL.Host, q.repository, err)
	}
	if link != "" {
		header.Set("Link", link)
	}
	return answers.With(http.StatusOK, header, data), nil
}

// readList reads a page of tags or referrers, and closes it.
func (f *Finder) readList(ctx context.Context, q Request, resp *http.Response) ([]byte, *portion, error) {
	defer resp.Body.Close()
	data, memory, err := f.readBody(ctx, resp, maxList)
	if err == nil && len(data) > maxList {
		memory.Release()
		err = fmt.Errorf("%s: a list of more than %d bytes: %w", q.repository, maxList, errdefs.ErrOutOfRange)
	}
	return data, memory, err
}

// nextPage is a registry's link to the next page as the gateway's own: the
// path of the request with the parameters of the link.
func (q Request) nextPage(resp *http.Response) (string, error) {
	next, more, err := registry.NextPage(resp)
	if err != nil || !more {
		return "", err
	}
	if q.query.Has("ns") {
		next.Set("ns", q.repository.Host())
	}
	reference := "list"
	if q.kind == Referrers {
		reference = q.digest.String()
	}
	return fmt.Sprintf("<%s?%s>; rel=\"next\"", q.Path(q.kind, reference), next.Encode()), nil
}
