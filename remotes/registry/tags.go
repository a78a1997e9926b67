package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// maxTags is how many bytes the list of a repository's tags may have: 60,000
// tags of full length.
const maxTags = 8 << 20

// Tags lists the tags of a repository, as the host says that takes pushes: a
// mirror may have an older list. The class of the error is errdefs.ErrNotFound
// for a repository that the registry does not know, or that has no tags; a list
// that cannot be read to its end is an error.
func (c *Client) Tags(ctx context.Context, repository auth.Repository) ([]string, error) {
	h, err := c.originHost(repository)
	if err != nil {
		return nil, err
	}
	var all []string
	q := Request{Repository: repository, Method: http.MethodGet, Path: "tags/list", Header: accept("application/json")}
	left := int64(maxTags)
	for page := range maxTagPages {
		resp, err := h.doOK(ctx, q)
		if errdefs.IsNotFound(err) && page > 0 {
			return nil, fmt.Errorf("page %d: %v", page+1, err) //nolint:errorlint // the list is there
		}
		if err != nil {
			return nil, err
		}
		tags, err := readTags(resp, &left)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", repository, h.URL(q).Path, err)
		}
		all = append(all, tags...)
		var more bool
		if q.Query, more, err = NextPage(resp); err != nil {
			return nil, fmt.Errorf("%s: %w", repository, err)
		}
		if !more {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s: its list of tags has more than %d pages", repository, maxTagPages)
}

// tagsBudget is how long the pages of a list of tags may take.
const tagsBudget = 5 * time.Minute

// ListAttached returns the manifests that tags attach to content ([oci.AttachedTags]):
// each with its tag as the annotation org.opencontainers.image.ref.name, and its
// content as data, not verified. The repository's tags are listed once, also where
// that fails: then each of the tags is asked for. Errors: as for Resolve.
func (f fetcher) ListAttached(ctx context.Context, d digest.Digest) (attached []ocispec.Descriptor, err error) {
	mayHave, err := f.tags.Get(ctx, f.repository, tagsBudget, func(ctx context.Context) (func(string) bool, time.Duration, error) {
		tags, failed := f.client.Tags(ctx, f.repository)
		unknown := failed != nil && !errdefs.IsNotFound(failed)
		slices.Sort(tags)
		return func(tag string) bool { _, is := slices.BinarySearch(tags, tag); return unknown || is }, flight.Forever, nil
	})
	if err != nil {
		return nil, err
	}
	for _, tag := range oci.AttachedTags(d) {
		if !mayHave(tag) {
			continue
		}
		_, desc, data, failed := f.client.ResolveContent(ctx, f.repository.String()+":"+tag)
		switch {
		case errdefs.IsNotFound(failed):
			continue
		case failed != nil:
			return nil, failed
		}
		desc.Data, desc.Annotations = data, map[string]string{ocispec.AnnotationRefName: tag}
		attached = append(attached, desc)
	}
	return attached, nil
}

// maxTagPages bounds the pages of a list of tags; registries give a hundred tags
// or more on each.
const maxTagPages = 1000

// readTags reads one page of a list of tags, and closes it.
func readTags(resp *http.Response, left *int64) ([]string, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, *left+1))
	err = errors.Join(err, resp.Body.Close())
	if *left -= int64(len(data)); err == nil && *left < 0 {
		err = fmt.Errorf("larger than %d bytes", maxTags)
	}
	if err != nil {
		return nil, err
	}
	var list struct {
		Tags *[]string `json:"tags"` // null when there are none
		Name *string   `json:"name"`
	}
	if json.Unmarshal(data, &list) != nil || list.Tags == nil && list.Name == nil {
		return nil, &AnswerError{Host: resp.Request.URL.Host, MediaType: resp.Header.Get("Content-Type"), List: true, Is: describeBody(MediaType(resp.Header.Get("Content-Type")), data)}
	}
	if list.Tags == nil {
		return nil, nil
	}
	for _, tag := range *list.Tags {
		if !auth.IsTag(tag) {
			return nil, fmt.Errorf("%s is not a tag", sanitize.Quote(tag))
		}
	}
	return *list.Tags, nil
}

// Digest returns the digest of a repository's "manifests/<tag>" or
// "manifests/<digest>", as the host says that takes pushes. Errors: as for
// [Client.Head].
func (c *Client) Digest(ctx context.Context, repository auth.Repository, reference string) (digest.Digest, error) {
	h, err := c.originHost(repository)
	if err != nil {
		return "", err
	}
	path := "manifests/" + reference
	header, err := h.head(ctx, repository, path, Accept(""))
	if err == nil {
		if d := digest.Digest(header.Get("Docker-Content-Digest")); d.Validate() == nil {
			return d, nil
		}
	}
	if err != nil && !IsRefusedHead(err) {
		return "", err
	}
	return h.digestByGet(ctx, Request{Repository: repository, Method: http.MethodGet, Path: path, Header: accept(Accept(""))})
}

// digestByGet reads a manifest for its digest.
func (h Host) digestByGet(ctx context.Context, q Request) (digest.Digest, error) {
	resp, err := h.doOK(ctx, q)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxManifest+1))
	if err = errors.Join(err, resp.Body.Close()); err == nil && int64(len(data)) > oci.MaxManifest {
		err = fmt.Errorf("%s: %s: larger than a manifest may be", q.Repository, h.URL(q).Path)
	}
	return digest.FromBytes(data), err
}

// originHost is the host that takes pushes, for reading from it.
func (c *Client) originHost(repository auth.Repository) (Host, error) {
	e, err := c.pushEndpoint(repository)
	if err != nil {
		return Host{}, err
	}
	return e.hostFor(repository.Name()).retried(true), nil
}
