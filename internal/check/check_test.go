package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// checked is the report on a bundle, without credentials.
func checked(t *testing.T, ref string) *Report {
	t.Helper()
	parsed, err := auth.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Bundle(t.Context(), parsed, Options{Registries: registry.Options{PlainHTTP: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err = report.Err(); report.Complete != (err == nil) || report.Complete != (len(report.Findings) == 0) {
		t.Errorf("error %v of a report with %d findings, complete: %v", err, len(report.Findings), report.Complete)
	}
	return report
}

// wantFailed makes sure that a report's worst finding is of the last class.
func wantFailed(t *testing.T, r *Report) {
	t.Helper()
	if err := r.Err(); err == nil || classOf(err) != failed {
		t.Errorf("error %v, want one of class %s", err, failed)
	}
}

// meeting lets requests pass in groups, and counts how many there are at once.
type meeting struct {
	size int
	on   registrytest.Filter

	mu           sync.Mutex
	here, most   int
	gathered     int
	pass         chan struct{}
	disappointed bool
}

func (m *meeting) intercept(_ http.ResponseWriter, req *http.Request) bool {
	q := registrytest.Describe(req)
	if !m.on(q) {
		return false
	}
	m.mu.Lock()
	m.here++
	m.gathered++
	m.most = max(m.most, m.here)
	pass := m.pass
	if m.gathered == m.size {
		m.gathered, m.pass = 0, make(chan struct{})
		close(pass)
	}
	m.mu.Unlock()
	var late bool
	select {
	case <-pass:
	case <-time.After(patience):
		late = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.here--
	m.disappointed = m.disappointed || late
	return false
}

// Each manifest and index is read once, each blob asked for once per repository
// that lists it, side by side, with one token per repository.
func TestEachIsAskedForOnce(t *testing.T) {
	const members = 16
	r := clienttest.NewPublicRegistry(t)
	var entries []ocispec.Descriptor
	for i := range members {
		name := fmt.Sprintf("m%d", i)
		shared, own := []byte("shared"), []byte(name)
		entries = append(entries, registrytest.Member(r.Image("org/app/"+name, shared, own, own), name)) // a layer twice
	}
	r.Tag("org/app", "v1", r.Index("org/app", entries...).Digest)
	blobs := &meeting{size: concurrent, pass: make(chan struct{}), on: func(q registrytest.Request) bool { return q.Kind == registrytest.KindBlob }}
	r.Intercept(blobs.intercept)

	report := checked(t, r.Host()+"/org/app:v1")
	if !report.Complete || len(report.Members) != members || report.Blobs != 1+2*members {
		t.Errorf("report %+v", report)
	}
	if blobs.most != concurrent || blobs.disappointed {
		t.Errorf("%d requests at once, want %d", blobs.most, concurrent)
	}
	asked := map[string]int{}
	for _, q := range r.Log() {
		switch {
		case q.Status == http.StatusUnauthorized && q.Authorization == "":
			continue // the challenge
		case q.Kind == registrytest.KindToken:
			asked["token "+strings.Join(q.Scopes, " ")]++
		case q.Kind == registrytest.KindBlob && q.Method != http.MethodHead:
			t.Errorf("request %s", q)
		default:
			asked[strings.Join([]string{string(q.Kind), q.Repository, q.Reference}, " ")]++
		}
	}
	if want := 2*(1+members) + 3*members; len(asked) != want {
		t.Errorf("%d things were asked for, want %d", len(asked), want)
	}
	for what, n := range asked {
		if n != 1 {
			t.Errorf("%s: asked for %d times", what, n)
		}
	}
}

func TestBlobOfAnotherSizeIsOfNoUse(t *testing.T) {
	r := clienttest.NewPublicRegistry(t)
	blob := r.PutBlob("org/app/web", "text/plain", []byte("whole"))
	image := r.Artifact("org/app/web", "application/vnd.example", blob)
	r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(image, "web")).Digest)
	r.PutBlobAs("org/app/web", blob.Digest, []byte("cut"))

	report := checked(t, r.Host()+"/org/app:v1")
	wantFailed(t, report)
	if len(report.Findings) != 1 || !strings.Contains(report.Findings[0].Message, "size is 3, not 5; push it again") || report.Findings[0].Kind != "failed" {
		t.Errorf("findings %+v", report.Findings)
	}
	if m := report.Members[0]; m.Status != "incomplete" || m.Missing[0] != blob.Digest {
		t.Errorf("member %+v", m)
	}
}

// Content under two child namespaces is read where it is found first, and not
// taken for a copy.
func TestContentUnderTwoNamespacesIsNoCopy(t *testing.T) {
	r := clienttest.NewPublicRegistry(t)
	image := r.Image("org/app/b", []byte("layer"))
	r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(image, "a"), registrytest.Member(image, "b")).Digest)

	report := checked(t, r.Host()+"/org/app:v1")
	if len(report.Members) != 2 || len(report.Warnings) != 1 { // of a stricter registry
		t.Errorf("members %+v, warnings %+v", report.Members, report.Warnings)
	}
	for _, m := range report.Members {
		if m.Repository != r.Host()+"/org/app/b" {
			t.Errorf("member %+v", m)
		}
	}
	if n := r.Count(registrytest.Method(http.MethodHead)); n != 2 {
		t.Errorf("%d HEADs", n)
	}
}

func TestRegistryThatAsksForNothing(t *testing.T) {
	r := clienttest.NewRegistry(t)
	r.Tag("org/app", "v1", r.Image("org/app", []byte("layer")).Digest)
	report := checked(t, r.Host()+"/org/app:v1")
	want := Repository{r.Host() + "/org/app", report.Repositories[0].Credential, "", "none asked", "ok"}
	if got := report.Repositories[0]; got != want || !strings.HasPrefix(got.Credential, "none: ") {
		t.Errorf("repository %+v", got)
	}
}

// Plain images may list what no registry can have, and say themselves where else
// a layer is.
func TestBlobsOfPlainImagesElsewhere(t *testing.T) {
	r := clienttest.NewPublicRegistry(t)
	put := func(tag string, layer ocispec.Descriptor) {
		m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{layer}}
		m.SchemaVersion, m.Config = 2, r.PutBlob("org/app", ocispec.MediaTypeImageConfig, []byte("{}"))
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		r.Put("org/app", m.MediaType, body, tag)
	}
	foreign := ocispec.Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		Digest: digest.FromString("foreign"), Size: 7, URLs: []string{"https://layers.example.com/1"}}
	put("foreign", foreign)
	report := checked(t, r.Host()+"/org/app:foreign")
	if len(report.Warnings) != 1 || !strings.HasSuffix(report.Warnings[0].Message, "clients get it from https://layers.example.com/1") {
		t.Errorf("warnings %+v", report.Warnings)
	}
	put("bad", ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: "../../../v2/other/manifests/v1", Size: 7})
	r.ResetLog()
	report = checked(t, r.Host()+"/org/app:bad")
	wantFailed(t, report)
	if len(report.Findings) != 1 || !strings.Contains(report.Findings[0].Message, "digest") {
		t.Errorf("findings %+v", report.Findings)
	}
	for _, q := range r.Log() {
		if q.Kind != registrytest.KindToken && q.Repository != "org/app" {
			t.Errorf("request %s", q)
		}
	}
}

// What a repository denied is not forgotten over what it does not have.
func TestWorstAnswerCounts(t *testing.T) {
	repository, err := auth.ParseRepository(clienttest.NewPublicRegistry(t).Host() + "/org/app")
	if err != nil {
		t.Fatal(err)
	}
	a := newAccess(registry.New(registry.Options{PlainHTTP: true}), auth.Sources{})
	for _, answer := range []error{errdefs.ErrNotFound, &auth.DeniedError{Answer: "no"}, errdefs.ErrNotFound, errors.New("broken")} {
		a.note(t.Context(), repository, answer)
	}
	if got := a.report(t.Context(), repository); got.Status != "denied" || got.Granted != "denied: no" {
		t.Errorf("repository %+v", got)
	}
}

// Classes are told by what an error wraps. What does not verify is none of those
// that have a word of their own.
func TestClasses(t *testing.T) {
	for want, errs := range map[string][]error{
		"denied":    {errdefs.ErrPermissionDenied, errdefs.ErrUnauthenticated, &auth.DeniedError{}, &nested.Error{Err: errdefs.ErrPermissionDenied}},
		"not found": {errdefs.ErrNotFound, &nested.Error{Err: errdefs.ErrNotFound}},
		"invalid":   {&nested.InvalidError{Err: errdefs.ErrNotFound}, fmt.Errorf("x: %w", &nested.InvalidError{Err: errors.New("x")})},
		"failed":    {errors.New("x"), &nested.VerifyError{}, errdefs.ErrInvalidArgument, context.Canceled},
	} {
		for _, err := range errs {
			if got := classOf(err).String(); got != want {
				t.Errorf("%T %v is of class %q, want %q", err, err, got, want)
			}
		}
	}
}
