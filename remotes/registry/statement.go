package registry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
)

// supportPath is where a registry says that it supports child namespaces
// (docs/spec.md, section 8a), below the API's root.
const supportPath = "/_nestedoci/child-namespaces"

// supportVersion is the version of the statement that is understood.
const supportVersion = 2

// maxStatement bounds a registry's statement in bytes: it has four short
// members, and there is room for what later versions add.
const maxStatement = 64 << 10

// statementBudget bounds the question, tries included: what the registry has
// not said by then is as if it had not said it, so publishing goes on.
const statementBudget = 30 * time.Second

// statement is what a registry says of itself.
type statement struct {
	Version   int  `json:"version"`
	Validates bool `json:"validates"`
	CleansUp  bool `json:"cleansUp"`
}

// keeps reports whether an index may be pushed as it is. That the registry
// looks for members where they are (validates) lets it take the index, and that
// its clean-up follows them (cleansUp) lets the index and its members live on;
// whether it serves them through the parent is for other clients.
func (s statement) keeps() bool {
	return s.Version == supportVersion && s.Validates && s.CleansUp
}

// KeepsReferences reports whether the repository's registry says that it takes
// a nested index as it is, and that its clean-up keeps index and members
// (docs/spec.md, sections 8 and 8a). It is asked with the repository's token
// for pushing. An answer other than such a statement is no. Answers are kept
// for the registry, errors are not. It may be called by several goroutines at
// once, which ask once together. Errors: those of a request, where the registry
// could not be asked.
func (c *Client) KeepsReferences(ctx context.Context, repository auth.Repository) (bool, error) {
	return c.keeping.Get(ctx, repository.Host(), statementBudget, func(ctx context.Context) (bool, time.Duration, error) {
		keeps, err := c.askKeeps(ctx, repository)
		return keeps, flight.Forever, err
	})
}

// askKeeps asks the host that is pushed to. Where there is none, nothing is said.
func (c *Client) askKeeps(ctx context.Context, repository auth.Repository) (bool, error) {
	e, err := c.pushEndpoint(repository)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h := e.pushHost(repository)
	u := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: strings.TrimSuffix(h.Path, "/"+e.prefix) + supportPath}
	resp, err := h.do(ctx, u, Request{Method: http.MethodGet, Header: accept("application/json")})
	if err != nil {
		return false, explain(ctx, []Host{h}, err)
	}
	return readStatement(resp)
}

// readStatement reads an answer, and closes it.
func readStatement(resp *http.Response) (bool, error) {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, nil
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxStatement+1))
	if err != nil {
		return false, err
	}
	var said statement
	if len(data) > maxStatement || json.Unmarshal(data, &said) != nil {
		return false, nil // a page, or something else of the same name
	}
	return said.keeps(), nil
}
