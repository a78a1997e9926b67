package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// maxList bounds a page of tags or referrers, which is what an index may have.
const maxList = 4 << 20

// findTags finds a page of the tags of the repository.
func (g *Gateway) findTags(ctx context.Context, q request) (*http.Response, error) {
	resp, err := g.upstream.do(ctx, q.repository, query{method: http.MethodGet, kind: tags, reference: "list", accept: "application/json", values: q.page()}) //nolint:bodyclose // readPage closes it
	if err != nil {
		return nil, err
	}
	return g.readPage(ctx, q, resp)
}

// findReferrers finds a page of what refers to content, from where that
// content is (docs/spec.md, section 4).
func (g *Gateway) findReferrers(ctx context.Context, q request) (*http.Response, error) {
	p, err := g.home(ctx, q, q.digest)
	if err != nil {
		return nil, err
	}
	ask := query{method: http.MethodGet, kind: referrers, reference: q.digest.String(),
		accept: "application/vnd.oci.image.index.v1+json, */*", values: q.page()}
	resp, served, err := askEach(p, q.repository, func(candidate auth.Repository) (resp *http.Response, err error) { //nolint:bodyclose // readPage closes it
		resp, err = g.upstream.do(ctx, candidate, ask)
		if err == nil && registry.LacksReferrers(resp, "") {
			page := &registry.AnswerError{Host: resp.Request.URL.Host, Of: candidate.String(), MediaType: registry.MediaType(resp.Header.Get("Content-Type")), List: true}
			err = fmt.Errorf("%w: %w", page, errdefs.ErrNotFound)
			return nil, errors.Join(err, resp.Body.Close())
		}
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	g.metrics.hop(q, served)
	return g.readPage(ctx, q, resp)
}

// page are the parameters that go upstream: links to further pages have those
// that their registry knows.
func (q request) page() url.Values {
	values := maps.Clone(q.query)
	delete(values, "ns") // ours
	return values
}

// readPage is the answer with a page, all of it, and its link to the next.
func (g *Gateway) readPage(ctx context.Context, q request, resp *http.Response) (*http.Response, error) {
	data, _, err := g.readList(ctx, q, resp)
	if err != nil {
		return nil, err
	}
	begin := bytes.TrimSpace(data)
	if !bytes.HasPrefix(begin, []byte("{")) || q.kind == referrers && !registry.IsList(data) {
		page := &registry.AnswerError{Host: resp.Request.URL.Host, Of: q.repository.String(), MediaType: registry.MediaType(resp.Header.Get("Content-Type")), List: true}
		if q.kind == referrers && bytes.HasPrefix(begin, []byte("<")) {
			return nil, fmt.Errorf("%w: %w", page, errdefs.ErrNotFound) // as from a registry without the referrers API
		}
		return nil, page
	}
	header := kept(resp.Header, []string{"Content-Type", "Oci-Filters-Applied"})
	link, err := q.nextPage(resp)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %s: %w", resp.Request.URL.Host, q.repository, err)
	}
	if link != "" {
		header.Set("Link", link)
	}
	return answerWith(http.StatusOK, header, data), nil
}

// readList reads a page of tags or referrers, and closes it.
func (g *Gateway) readList(ctx context.Context, q request, resp *http.Response) ([]byte, *portion, error) {
	defer resp.Body.Close()
	data, room, err := g.readBody(ctx, resp, maxList)
	if err == nil && len(data) > maxList {
		room.Release()
		err = fmt.Errorf("%s: a list of more than %d bytes: %w", q.repository, maxList, errdefs.ErrOutOfRange)
	}
	return data, room, err
}

// nextPage is a registry's link to the next page as the gateway's own: the
// path of the request with the parameters of the link.
func (q request) nextPage(resp *http.Response) (string, error) {
	next, more, err := registry.NextPage(resp)
	if err != nil || !more {
		return "", err
	}
	next.Set("ns", q.repository.Host())
	path := "/v2/" + q.repository.Name() + "/tags/list"
	if q.kind == referrers {
		path = "/v2/" + q.repository.Name() + "/referrers/" + q.digest.String()
	}
	return fmt.Sprintf("<%s?%s>; rel=\"next\"", path, next.Encode()), nil
}
