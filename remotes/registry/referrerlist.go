package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
)

// listOf is a list of referrers, which is changed by one goroutine at a time.
type listOf struct {
	repository auth.Repository
	subject    digest.Digest
}

// ListReferrer makes sure that a manifest or index in a repository is listed
// among the referrers of its subject: by the registry or, where that has no
// referrers API, under the tag for the list (distribution spec, "Pushing
// Manifests with Subject"). Without a subject it does nothing. A [Client]'s
// pusher calls it for what it writes; call it for content that was there
// already. Errors: as those of a pusher.
func (c *Client) ListReferrer(ctx context.Context, at auth.Repository, desc ocispec.Descriptor, data []byte) error {
	subject, entry := oci.DescribeReferrer(ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}, data)
	if subject.Validate() != nil {
		return nil
	}
	f, end, err := c.takeList(ctx, at, subject)
	if err != nil {
		return err
	}
	defer end()
	listed, err := f.listAt(ctx, docker.HostCapabilityPush, "referrers/"+subject.String(), nil, nil)
	switch {
	case err == nil && lists(listed, entry.Digest):
		return nil
	case err != nil && !isAbsent(err) && !isDenial(err):
		return fmt.Errorf("referrers of %s@%s: %w", at, subject, err)
	}
	err = f.changeList(ctx, subject, func(listed []ocispec.Descriptor) []ocispec.Descriptor {
		if lists(listed, entry.Digest) {
			return listed
		}
		return append(listed, entry)
	})
	if err != nil {
		return fmt.Errorf("list %s among the referrers of %s@%s: %w", oci.Short(entry.Digest), at, subject, err)
	}
	return nil
}

// UnlistReferrer takes what was deleted out of the list under the tag for the
// referrers of a subject, where there is such a list. Errors: as for
// [Client.ListReferrer].
func (c *Client) UnlistReferrer(ctx context.Context, at auth.Repository, subject, gone digest.Digest) error {
	f, end, err := c.takeList(ctx, at, subject)
	if err != nil {
		return err
	}
	defer end()
	err = f.changeList(ctx, subject, func(listed []ocispec.Descriptor) []ocispec.Descriptor {
		return slices.DeleteFunc(slices.Clone(listed), func(d ocispec.Descriptor) bool { return d.Digest == gone })
	})
	if err != nil {
		return fmt.Errorf("take %s out of the list of referrers of %s@%s: %w", oci.Short(gone), at, subject, err)
	}
	return nil
}

// takeList takes the turn to change the list of a subject, at the host of its
// repository for pushing. end gives the turn back.
func (c *Client) takeList(ctx context.Context, at auth.Repository, subject digest.Digest) (f fetcher, end func(), err error) {
	if end, err = c.lists.Take(ctx, listOf{at, subject}); err != nil {
		return f, nil, err
	}
	e, err := c.pushEndpoint(at)
	if err != nil {
		end()
		return f, nil, err
	}
	return fetcher{client: c, repository: at, hosts: []Host{e.pushHost(at)}}, end, nil
}

func lists(listed []ocispec.Descriptor, d digest.Digest) bool {
	return slices.ContainsFunc(listed, func(other ocispec.Descriptor) bool { return other.Digest == d })
}

const (
	// maxChanges bounds how often a list is read and written again because
	// another client has changed it meanwhile; pauses double.
	maxChanges       = 5
	firstChangePause = 100 * time.Millisecond
)

// changeList changes the list under a tag, until it is as change leaves it. Other
// clients may do so at the same time. Where the registry supports conditional
// requests no change is lost; elsewhere checking afterwards finds nearly all lost
// ones.
func (f fetcher) changeList(ctx context.Context, subject digest.Digest, change func([]ocispec.Descriptor) []ocispec.Descriptor) error {
	h := f.hosts[0]
	for attempt := range maxChanges {
		listed, now, err := f.tagged(ctx, h, subject)
		switch {
		case now.missing:
		case isAbsent(err):
			return fmt.Errorf("%v, so the registry has no place for what refers to it", err) //nolint:errorlint // it is no absence of what is pushed
		case err != nil:
			return err
		}
		changed := change(listed)
		if len(changed) == len(listed) {
			return nil
		}
		index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: changed}
		data, err := json.Marshal(index)
		if err != nil {
			return err
		}
		err = f.putList(ctx, h, oci.ReferrersTag(subject), data, now)
		if err != nil && !isConflict(err) {
			return err
		}
		pause := firstChangePause << attempt
		if (err != nil || attempt > 0) && !retry.Sleep(ctx, pause/2+rand.N(pause)) {
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("tag %s: others changed it %d times in between; try again", oci.ReferrersTag(subject), maxChanges)
}

// isConflict reports whether a change was refused because of another one.
func isConflict(err error) bool {
	var status remoteerrors.ErrUnexpectedStatus
	return errors.As(err, &status) && (status.StatusCode == http.StatusPreconditionFailed || status.StatusCode == http.StatusConflict)
}

// putList puts an index under a tag if the tag has not changed.
func (f fetcher) putList(ctx context.Context, h Host, tag string, data []byte, was tagged) error {
	header := http.Header{"Content-Type": {ocispec.MediaTypeImageIndex}}
	switch {
	case was.missing:
		header.Set("If-None-Match", "*")
	case was.etag != "":
		header.Set("If-Match", was.etag)
	}
	resp, err := h.Do(ctx, Request{Repository: f.repository, Method: http.MethodPut, Path: "manifests/" + tag, Header: header, Body: data})
	if err != nil {
		return explain(ctx, []Host{h}, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return ReadStatusError(resp).by(ctx, []Host{h})
	}
	return nil
}

// referringWriter writes a manifest or index, and lists it unless the registry
// says that it has seen its subject.
type referringWriter struct {
	content.Writer
	client *Client
	at     auth.Repository
	desc   ocispec.Descriptor
	data   []byte
	answer *manifestAnswer
}

// manifestAnswer is a registry's answer to the PUT of a manifest.
type manifestAnswer struct {
	mu      sync.Mutex
	subject string // header OCI-Subject
}

// at returns a host whose answers are noted.
func (a *manifestAnswer) at(h Host) Host {
	return h.through(func(next http.RoundTripper, req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if err == nil && req.Method == http.MethodPut && isOfManifest(req) {
			a.note(resp)
		}
		return resp, err
	})
}

// note keeps the OCI-Subject header of an answer.
func (a *manifestAnswer) note(resp *http.Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.subject = resp.Header.Get("OCI-Subject")
}

func (a *manifestAnswer) says(subject digest.Digest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.subject == subject.String()
}

// Write implements io.Writer.
func (w *referringWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if w.data = append(w.data, p[:n]...); err != nil {
		w.data = nil // the upload begins anew, or has failed
	}
	return n, err
}

// Commit implements content.Writer.
func (w *referringWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		w.data = nil
		return err
	}
	if subject, _ := oci.DescribeReferrer(w.desc, w.data); w.answer.says(subject) {
		return err
	}
	return cmp.Or(w.client.ListReferrer(ctx, w.at, w.desc, w.data), err)
}
