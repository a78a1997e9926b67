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

	"github.com/nestedoci/nested/remotes/auth"
)

// supportPath is where a registry says that it supports child namespaces
// (docs/spec.md, section 8a), below the API's root.
const supportPath = "/_nestedoci/child-namespaces"

// StatementPath is that path at a registry itself.
const StatementPath = "/v2" + supportPath

// supportVersion is the supported version of the statement.
const supportVersion = 2

// maxStatement bounds a registry's statement in bytes: it has four short
// members, and there is room for those of later versions.
const maxStatement = 64 << 10

// statementBudget bounds the request, retries included. Without an answer by
// then, publishing goes on as if the registry had no statement.
const statementBudget = 30 * time.Second

// statement is what a registry says about itself.
type statement struct {
	Version   int  `json:"version"`
	Validates bool `json:"validates"`
	CleansUp  bool `json:"cleansUp"`
}

// keeps reports whether an index may be pushed as it is. A registry that
// validates members where they are accepts the index, and one whose clean-up
// follows them (cleansUp) keeps the index and its members. Whether it also
// serves them through the parent matters to other clients.
func (s statement) keeps() bool {
	return s.Version == supportVersion && s.Validates && s.CleansUp
}

// KeepsReferences reports whether the repository's registry says that it
// accepts a nested index as it is, and that its clean-up keeps index and
// members (docs/spec.md, sections 8 and 8a). The request uses the repository's
// token for pushing. Any answer but such a statement means no. What the registry
// says is believed for ten minutes; an answer that may be for this caller alone,
// such as a 403, and errors are not kept. It may be called by several
// goroutines at once, which share one request. Errors: those of a request,
// where the registry could not be reached.
func (c *Client) KeepsReferences(ctx context.Context, repository auth.Repository) (bool, error) {
	return c.keeping.Get(ctx, repository.Host(), statementBudget, func(ctx context.Context) (bool, time.Duration, error) {
		keeps, said, err := c.fetchKeeps(ctx, repository)
		if !said {
			return keeps, 0, err
		}
		return keeps, statementTime, err
	})
}

// statementTime is for how long a registry's statement is believed: a process
// may outlive the version of a registry.
const statementTime = 10 * time.Minute

// fetchKeeps asks the host for pushing. When there is none, the answer is no. said
// is false when another caller may get another answer.
func (c *Client) fetchKeeps(ctx context.Context, repository auth.Repository) (keeps, said bool, err error) {
	e, err := c.pushEndpoint(repository)
	if errdefs.IsNotFound(err) {
		return false, true, nil
	}
	if err != nil {
		return false, false, err
	}
	h := e.pushHost(repository)
	u := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: strings.TrimSuffix(h.Path, "/"+e.prefix) + supportPath}
	resp, err := h.do(ctx, u, Request{Method: http.MethodGet, Header: accept("application/json")})
	if err != nil {
		return false, false, explain(ctx, []Host{h}, err)
	}
	said = resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotFound
	keeps, err = ReadStatement(resp)
	return keeps, said, err
}

// ReadStatement reads the answer to a question at [StatementPath], and closes it.
// It returns whether the registry says that it keeps nested indexes as they are.
func ReadStatement(resp *http.Response) (bool, error) {
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
