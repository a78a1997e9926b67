package main

import (
	"bytes"
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

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// checkScene is a registry with nothing in it that anybody may pull from.
func checkScene(t *testing.T) *registrytest.Registry {
	t.Helper()
	ownCredentials(t)
	r := registrytest.New(registrytest.WithTokenAuth())
	t.Cleanup(r.Close)
	r.AllowAnonymous("*")
	return r
}

// runCheck checks a bundle and returns the report.
func runCheck(t *testing.T, status int, ref string, args ...string) checkReport {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append([]string{"check", "--plain-http", "--hosts-dir=", "--format=json", ref}, args...)
	if got := run(t.Context(), args, &stdout, &stderr); got != status {
		t.Fatalf("exit status %d, want %d: %s%s", got, status, &stdout, &stderr)
	}
	var report checkReport
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	return report
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

// TestCheckRequests: each document is read once, each blob asked for once per
// repository that lists it, side by side, with one token per repository.
func TestCheckRequests(t *testing.T) {
	const members = 16
	r := checkScene(t)
	var entries []ocispec.Descriptor
	for i := range members {
		name := fmt.Sprintf("m%d", i)
		shared, own := []byte("shared"), []byte(name)
		entries = append(entries, registrytest.Member(r.Image("org/app/"+name, shared, own, own), name)) // a layer twice
	}
	r.Tag("org/app", "v1", r.Index("org/app", entries...).Digest)
	blobs := &meeting{size: atOnce, pass: make(chan struct{}), on: func(q registrytest.Request) bool { return q.Kind == registrytest.KindBlob }}
	r.Intercept(blobs.intercept)

	report := runCheck(t, 0, r.Host()+"/org/app:v1")
	if !report.Whole || len(report.Members) != members || report.Blobs != 1+2*members {
		t.Errorf("report %+v", report)
	}
	if blobs.most != atOnce || blobs.disappointed {
		t.Errorf("%d requests at once, want %d", blobs.most, atOnce)
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

// TestCheckSize: a blob of another size is there, and of no use.
func TestCheckSize(t *testing.T) {
	r := checkScene(t)
	blob := r.PutBlob("org/app/web", "text/plain", []byte("whole"))
	image := r.Artifact("org/app/web", "application/vnd.example", blob)
	r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(image, "web")).Digest)
	r.PutBlobAs("org/app/web", blob.Digest, []byte("cut"))

	report := runCheck(t, failure, r.Host()+"/org/app:v1")
	if len(report.Findings) != 1 || !strings.Contains(report.Findings[0].Message, "size is 3, not 5; push it again") || report.Findings[0].Kind != "failed" {
		t.Errorf("findings %+v", report.Findings)
	}
	if m := report.Members[0]; m.Status != "incomplete" || m.Missing[0] != blob.Digest {
		t.Errorf("member %+v", m)
	}
}

// TestCheckTwice: content under two child namespaces is read where it is
// found first, and not taken for a copy.
func TestCheckTwice(t *testing.T) {
	r := checkScene(t)
	image := r.Image("org/app/b", []byte("layer"))
	r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(image, "a"), registrytest.Member(image, "b")).Digest)

	report := runCheck(t, 0, r.Host()+"/org/app:v1")
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

// TestCheckWithoutTokens: a registry that asks nobody for anything.
func TestCheckWithoutTokens(t *testing.T) {
	ownCredentials(t)
	r := registrytest.New()
	t.Cleanup(r.Close)
	r.Tag("org/app", "v1", r.Image("org/app", []byte("layer")).Digest)
	report := runCheck(t, 0, r.Host()+"/org/app:v1")
	want := checkedRepository{r.Host() + "/org/app", report.Repositories[0].Credential, "", "none asked", "ok"}
	if got := report.Repositories[0]; got != want || !strings.HasPrefix(got.Credential, "none: ") {
		t.Errorf("repository %+v", got)
	}
}

// TestCheckPlain: plain images may list what no registry can have, and say
// themselves where else a layer is.
func TestCheckPlain(t *testing.T) {
	r := checkScene(t)
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
	report := runCheck(t, 0, r.Host()+"/org/app:foreign")
	if len(report.Warnings) != 1 || !strings.HasSuffix(report.Warnings[0].Message, "clients get it from https://layers.example.com/1") {
		t.Errorf("warnings %+v", report.Warnings)
	}
	put("bad", ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: "../../../v2/other/manifests/v1", Size: 7})
	r.ResetLog()
	report = runCheck(t, failure, r.Host()+"/org/app:bad")
	if len(report.Findings) != 1 || !strings.Contains(report.Findings[0].Message, "digest") {
		t.Errorf("findings %+v", report.Findings)
	}
	for _, q := range r.Log() {
		if q.Kind != registrytest.KindToken && q.Repository != "org/app" {
			t.Errorf("request %s", q)
		}
	}
}

// TestCheckInterrupted: there is no report on what was not asked to the end.
func TestCheckInterrupted(t *testing.T) {
	for _, kind := range []registrytest.Kind{registrytest.KindManifest, registrytest.KindBlob} {
		r := checkScene(t)
		r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(r.Image("org/app/web", []byte("layer")), "web")).Digest)
		ctx, cancel := context.WithCancel(t.Context())
		stall := r.Stall()
		r.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if q := registrytest.Describe(req); q.Kind != kind || q.Repository != "org/app/web" {
				return false
			}
			cancel()
			return stall(w, req)
		})
		var stdout, stderr bytes.Buffer
		status := run(ctx, []string{"check", "--plain-http", "--hosts-dir=", r.Host() + "/org/app:v1"}, &stdout, &stderr)
		if status != failure || stdout.Len() > 0 || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("%s: exit status %d: %s%s", kind, status, &stdout, &stderr)
		}
	}
}

// TestCheckWorstAnswer: what a repository denied is not forgotten over what it
// does not have.
func TestCheckWorstAnswer(t *testing.T) {
	scene := checkScene(t)
	repository, err := auth.ParseRepository(scene.Host() + "/org/app")
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(registry.New(registry.Options{PlainHTTP: true}), auth.Sources{}, false)
	for _, answer := range []error{errdefs.ErrNotFound, &auth.DeniedError{Answer: "no"}, errdefs.ErrNotFound, errors.New("broken")} {
		c.answered(t.Context(), repository, answer)
	}
	if got := c.repository(t.Context(), repository); got.Status != "denied" || got.Granted != "denied: no" {
		t.Errorf("repository %+v", got)
	}
}
