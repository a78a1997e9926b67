package check

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// Report is the result of a check. In JSON its lists are never null, and sizes
// are in bytes.
type Report struct {
	Root         Root         `json:"root"`
	Complete     bool         `json:"whole"` // there are no findings; the JSON name is older
	Repositories []Repository `json:"repositories"`
	Members      []Member     `json:"members"`
	Blobs        int          `json:"blobs"` // each once, as in bytes
	Bytes        int64        `json:"bytes"` // of blobs, manifests and indexes
	Findings     []Remark     `json:"findings"`
	Warnings     []Remark     `json:"warnings"`

	members int              // counted as in pull
	worst   error            // of the findings
	found   map[content]bool // the content that there is a finding about
}

// content is content of a member.
type content struct {
	path   string
	digest digest.Digest
}

// Root is what the reference resolves to. One that was not found has only the
// reference.
type Root struct {
	Ref       string        `json:"ref"`
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
}

// Repository is what was requested from a repository, and the result.
type Repository struct {
	Repository string `json:"repository"`
	Credential string `json:"credential"` // file and key, or helper
	Scope      string `json:"scope"`      // requested; empty when there was no token
	Granted    string `json:"granted"`    // "pull", "none asked", "denied: …" or "unknown"
	Status     string `json:"status"`     // "ok", "denied", "not found" or "failed"
}

// Member is an image or artifact, or an index that could not be read.
type Member struct {
	Path         string          `json:"path"` // namespaces from the root; empty in its repository
	Repository   string          `json:"repository"`
	Digest       digest.Digest   `json:"digest"`
	MediaType    string          `json:"mediaType"`
	ArtifactType string          `json:"artifactType"`
	Platform     string          `json:"platform"`
	Size         int64           `json:"size"`   // with its blobs
	Status       string          `json:"status"` // "ok", "incomplete", or as that of a repository, or "invalid"
	Blobs        int             `json:"blobs"`
	Missing      []digest.Digest `json:"missing"` // blobs that cannot be fetched
}

// Remark is a finding or a warning.
type Remark struct {
	Kind       string        `json:"kind"` // "denied", "not found", "invalid", "failed"; "warning"
	Path       string        `json:"path"`
	Platform   string        `json:"platform"`
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	Message    string        `json:"message"` // ends in the next step
}

// incompleteError is the error for a bundle that is not complete. Its class is that
// of the worst finding.
type incompleteError struct {
	ref      string
	findings int
	worst    error
}

func (e *incompleteError) Error() string {
	return fmt.Sprintf("%s is incomplete: %s", e.ref, amount.Count(e.findings, "finding"))
}

func (e *incompleteError) Unwrap() error { return e.worst }

// Err returns an error when there are findings. Its class is that of the worst:
// of errdefs, or [nested.InvalidError].
func (r *Report) Err() error {
	if r.Complete {
		return nil
	}
	return &incompleteError{r.Root.Ref, len(r.Findings), r.worst}
}

// newReport is a report that finds nothing so far.
func newReport(ref string) *Report {
	return &Report{
		Root:         Root{Ref: ref},
		Repositories: []Repository{},
		Members:      []Member{},
		Findings:     []Remark{},
		Warnings:     []Remark{},
		found:        map[content]bool{},
	}
}

// find adds a finding, unless there is one about the same content of the same
// member, which may be listed for several platforms.
func (r *Report) find(n *bundle.Node, in auth.Repository, d digest.Digest, err error, next string) {
	about := content{n.Namespace, d}
	if r.found[about] {
		return
	}
	r.found[about] = true
	message := err.Error()
	if next != "" {
		message += "; " + next
	}
	r.Findings = append(r.Findings, Remark{classOf(err).String(), n.Namespace, bundle.PlatformOf(n.Platform), in.String(), d, sanitize.URLs(message)})
	if r.worst == nil || classOf(err) < classOf(r.worst) {
		r.worst = err
	}
}
