package nested

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// maxPages bounds the pages of a list; all together they may be as large as an
// index.
const maxPages = 100

// FetchReferrers implements remotes.ReferrersFetcher (distribution spec,
// "Listing Referrers"). containerd's own takes a failure for an empty list, and
// the first page for the whole one. Where no host has the list (404), a tag may
// stand for it.
func (f explained) FetchReferrers(ctx context.Context, d digest.Digest, opts ...remotes.FetchReferrersOpt) ([]ocispec.Descriptor, error) {
	config := remotes.FetchReferrersConfig{QueryFilters: url.Values{}}
	for _, opt := range opts {
		if err := opt(ctx, &config); err != nil {
			return nil, err
		}
	}
	query := maps.Clone(config.QueryFilters)
	query["artifactType"] = config.ArtifactTypes
	listed, err := f.listAt(ctx, docker.HostCapabilityReferrers, "referrers/"+d.String(), query)
	if errdefs.IsNotFound(err) {
		listed, err = f.listAt(ctx, docker.HostCapabilityResolve, "manifests/"+ReferrersTag(d), nil)
	}
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	return slices.DeleteFunc(listed, func(d ocispec.Descriptor) bool {
		return len(config.ArtifactTypes) > 0 && !slices.Contains(config.ArtifactTypes, d.ArtifactType)
	}), err
}

// listAt asks the hosts for a list, one after the other. That there is none,
// errdefs.ErrNotFound, is only true when all say so.
func (f explained) listAt(ctx context.Context, capability docker.HostCapabilities, path string, query url.Values) ([]ocispec.Descriptor, error) {
	var failed error
	for _, h := range f.hosts {
		if !h.Capabilities.Has(capability) {
			continue
		}
		u := h.URL(f.repository, path)
		values := u.Query()
		maps.Copy(values, query)
		u.RawQuery = values.Encode()
		listed, err := f.list(ctx, h, u)
		switch {
		case err == nil:
			return listed, nil
		case !errdefs.IsNotFound(err) && !errdefs.IsNotImplemented(err):
			failed = err
		}
	}
	if failed == nil {
		failed = fmt.Errorf("%s: %s: %w", f.repository, path, errdefs.ErrNotFound)
	}
	return nil, failed
}

var nextPage = regexp.MustCompile(`<([^<>]*)>[^,<>]*;\s*rel="?next\b`)

// list reads a list to its end. Its links have to stay on the list.
func (f explained) list(ctx context.Context, h Host, u *url.URL) ([]ocispec.Descriptor, error) {
	var all []ocispec.Descriptor
	left := int64(docker.MaxManifestSize)
	for range maxPages {
		resp, err := f.registries.ask(ctx, h, f.repository, http.MethodGet, u, ocispec.MediaTypeImageIndex)
		if err != nil {
			return nil, err
		}
		page, err := readPage(resp, &left)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", f.repository, u.Path, err)
		}
		all = append(all, page...)
		link := nextPage.FindStringSubmatch(resp.Header.Get("Link"))
		if link == nil {
			return all, nil
		}
		next, err := u.Parse(link[1])
		if err != nil || !auth.SameOrigin(next, u) || next.Path != u.Path {
			return nil, fmt.Errorf("%s: %s goes on elsewhere", f.repository, u.Path)
		}
		u = next
	}
	return nil, fmt.Errorf("%s: %s has more than %d pages", f.repository, u.Path, maxPages)
}

// readPage reads an answer to its end.
func readPage(resp *http.Response, left *int64) ([]ocispec.Descriptor, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, *left+1))
	err = errors.Join(err, resp.Body.Close())
	if *left -= int64(len(data)); *left < 0 {
		err = errors.New("larger than an index may be")
	}
	var page ocispec.Index
	if err == nil && json.Unmarshal(data, &page) != nil {
		err = errors.New("not a list of descriptors")
	}
	return page.Manifests, err
}
