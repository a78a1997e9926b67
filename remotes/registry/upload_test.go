package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
)

// inbox is a registry to push to, without a network, so that its time can be a test's. What it does to a request of a kind
// (HEAD, POST, PUT, mount, manifest) is in its faults, one for each such request, the last of them for ever.
type inbox struct {
	faults   map[string][]fault
	sessions int
	asked    map[string]int
	stored   map[string]string // by path
}

// fault is what becomes of a request: an answer with a status, or none.
type fault struct {
	status int           // 0: as it should be
	after  time.Duration // Retry-After
	lost   bool          // done, and not answered
}

func (r *inbox) kind(req *http.Request) string {
	switch {
	case req.Method == http.MethodPost && req.URL.Query().Has("mount"):
		return "mount"
	case req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/"):
		return "manifest"
	}
	return req.Method
}

func (r *inbox) RoundTrip(req *http.Request) (*http.Response, error) {
	kind := r.kind(req)
	n := r.asked[kind]
	r.asked[kind]++
	var f fault
	if all := r.faults[kind]; len(all) > 0 {
		f = all[min(n, len(all)-1)]
	}
	resp := &http.Response{StatusCode: f.status, Header: http.Header{}, Body: http.NoBody, Request: req}
	if f.after > 0 {
		resp.Header.Set("Retry-After", fmt.Sprint(int(f.after.Seconds())))
	}
	if f.status == 0 {
		r.do(kind, req, resp)
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	resp.Status = fmt.Sprint(resp.StatusCode, " ", http.StatusText(resp.StatusCode))
	if f.lost {
		return nil, io.EOF
	}
	return resp, nil
}

func (r *inbox) do(kind string, req *http.Request, resp *http.Response) {
	path := req.URL.Path
	switch kind {
	case "HEAD":
		resp.StatusCode = http.StatusNotFound
		if stored, ok := r.stored[path]; ok {
			resp.StatusCode = http.StatusOK
			resp.Header.Set("Docker-Content-Digest", digest.FromString(stored).String())
		}
	case "POST":
		r.sessions++
		resp.StatusCode = http.StatusAccepted
		resp.Header.Set("Location", fmt.Sprintf("%s%d", path, r.sessions))
	case "mount":
		resp.StatusCode = http.StatusCreated
	default:
		data, err := io.ReadAll(req.Body)
		if resp.StatusCode = http.StatusCreated; err != nil {
			resp.StatusCode = http.StatusBadRequest
			return
		}
		if d := req.URL.Query().Get("digest"); d != "" {
			path = strings.Split(path, "uploads/")[0] + d
		}
		r.stored[path] = string(data)
	}
}

// TestPushRetries: what is pushed is sent again as what is pulled is asked for again: as the registry wishes, and five times at
// most, counted there, whichever of the layers above it is at work. An upload that broke off begins anew.
func TestPushRetries(t *testing.T) {
	busy := fault{status: 429, after: 30 * time.Second}
	for name, test := range map[string]struct {
		faults map[string][]fault
		asked  string        // HEAD, mount, POST, PUT, manifest
		at     time.Duration // that it takes, and some seconds more at most
		says   string        // empty: it is pushed
	}{
		"nothing":             {nil, "1 0 1 1 0", 0, ""},
		"session busy":        {map[string][]fault{"POST": {busy, {}}}, "1 0 2 1 0", 30 * time.Second, ""},
		"upload busy":         {map[string][]fault{"PUT": {busy, {}}}, "1 0 1 2 0", 30 * time.Second, ""},
		"both busy":           {map[string][]fault{"POST": {busy, busy, {}}, "PUT": {busy, {}}}, "1 0 3 2 0", 90 * time.Second, ""},
		"manifest busy":       {map[string][]fault{"manifest": {busy, busy, {}}}, "1 0 0 0 3", time.Minute, ""},
		"session always busy": {map[string][]fault{"POST": {busy}}, "1 0 3 0 0", time.Minute, "asking to wait for 30s"},
		"upload always busy":  {map[string][]fault{"PUT": {busy}}, "1 0 1 3 0", time.Minute, "asking to wait for 30s"},
		"busy for a day":      {map[string][]fault{"PUT": {{status: 429, after: 24 * time.Hour}}}, "1 0 1 1 0", 0, "asking to wait for 24h0m0s"},
		"manifest for a day":  {map[string][]fault{"manifest": {{status: 503, after: 24 * time.Hour}}}, "1 0 0 0 1", 0, "asking to wait for 24h0m0s"},
		"429 for ever":        {map[string][]fault{"PUT": {{status: 429}}}, "1 0 1 5 0", 0, "429"},
		"500 for ever":        {map[string][]fault{"PUT": {{status: 500}}}, "5 0 5 5 0", 0, "500"},
		"one and the other":   {map[string][]fault{"PUT": {{status: 429}, {status: 503}, {status: 429}, {status: 502}, {status: 429}}}, "3 0 3 5 0", 0, "429"},
		"no session":          {map[string][]fault{"POST": {{status: 503}}}, "1 0 5 0 0", 0, "503"},
		"no look":             {map[string][]fault{"HEAD": {{status: 503}}}, "5 0 0 0 0", 0, "503"},
		"manifest for ever":   {map[string][]fault{"manifest": {{status: 500}}}, "1 0 0 0 5", 0, "500"},
		"upload broken":       {map[string][]fault{"PUT": {{status: 503}, {}}}, "2 0 2 2 0", 0, ""},
		"503, and a wait":     {map[string][]fault{"PUT": {{status: 503, after: 30 * time.Second}, {}}}, "2 0 2 2 0", 30 * time.Second, ""},
		"answer lost":         {map[string][]fault{"PUT": {{lost: true}}}, "2 0 1 1 0", 0, ""},
		"lost for ever":       {map[string][]fault{"PUT": {{status: 500, lost: true}}}, "5 0 5 5 0", 0, "EOF"},
		"manifest lost":       {map[string][]fault{"manifest": {{lost: true}, {}}}, "1 0 0 0 2", 0, ""},
		"mounted":             {map[string][]fault{"mount": {{}}}, "1 1 0 0 0", 0, ""},
		"mount busy":          {map[string][]fault{"mount": {busy, {}}}, "1 2 0 0 0", 30 * time.Second, ""},
		"mount always busy":   {map[string][]fault{"mount": {busy}}, "1 3 0 0 0", time.Minute, "asking to wait for 30s"},
		"mount broken":        {map[string][]fault{"mount": {{status: 500}}}, "2 1 1 1 0", 0, ""},
		"refused":             {map[string][]fault{"PUT": {{status: 400}}}, "1 0 1 1 0", 0, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				reg := &inbox{faults: test.faults, asked: map[string]int{}, stored: map[string]string{}}
				began := time.Now()
				err := pushTo(t, reg, strings.Repeat("content", 20_000))
				took := time.Since(began)
				var asked []string
				for _, kind := range []string{"HEAD", "mount", "POST", "PUT", "manifest"} {
					asked = append(asked, fmt.Sprint(reg.asked[kind]))
				}
				if got := strings.Join(asked, " "); got != test.asked || took < test.at || took > test.at+10*time.Second {
					t.Errorf("%s requests in %v, want %s", got, took, test.asked)
				}
				if test.says != "" {
					clienttest.WantError(t, err, test.says)
				} else if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// pushTo pushes as containerd does: a manifest when that is what the faults are about, a blob otherwise.
func pushTo(t *testing.T, reg *inbox, data string) error {
	registries := registry.New(registry.Options{UpdateClient: func(client *http.Client) error {
		client.Transport = reg
		return nil
	}})
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(data), Size: int64(len(data))}
	if reg.faults["manifest"] != nil {
		desc.MediaType = ocispec.MediaTypeImageManifest
	}
	if reg.faults["mount"] != nil {
		from, err := auth.ParseRepository("reg.test/other")
		clienttest.NoError(t, err)
		desc = oci.MountFrom(desc, from)
	}
	pusher, err := registries.Pusher(t.Context(), "reg.test/org/app@"+desc.Digest.String())
	clienttest.NoError(t, err)
	w, err := pusher.Push(t.Context(), desc)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	err = content.Copy(t.Context(), w, bytes.NewReader([]byte(data)), desc.Size, desc.Digest)
	if err == nil {
		for path, stored := range reg.stored {
			if stored != data || !strings.Contains(path, desc.Digest.String()) {
				t.Errorf("stored %d bytes at %s", len(stored), path)
			}
		}
	}
	return errors.Join(err, w.Close())
}

// TestUploadsWaitForNobody: more uploads than there are connections for what is read are under way, and each is fed from a
// download of the same registry, as a copy within it does. None waits for another for ever.
func TestUploadsWaitForNobody(t *testing.T) {
	t.Parallel()
	const atOnce = 3 * auth.DefaultConnections
	data := strings.Repeat("content", 200_000)
	d := digest.FromString(data)
	begun, feed := make(chan bool, atOnce), make(chan bool)
	var waiting atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.Method {
		case http.MethodGet:
			_, _ = io.WriteString(w, data)
		case http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case http.MethodPost:
			w.Header().Set("Location", req.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			begun <- true
			got, err := io.ReadAll(req.Body)
			if err != nil || string(got) != data {
				t.Errorf("sent %d bytes, %v", len(got), err)
			}
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(server.Close)
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: int64(len(data))}
	var all sync.WaitGroup
	for i := range atOnce {
		all.Go(func() {
			host := strings.TrimPrefix(server.URL, "http://")
			pusher, err := registries.Pusher(ctx, fmt.Sprintf("%s/to/%d@%s", host, i, d))
			if err != nil {
				t.Error(err)
				return
			}
			fetcher, err := registries.Fetcher(ctx, host+"/from@"+d.String())
			if err != nil {
				t.Error(err)
				return
			}
			to, err := pusher.Push(ctx, desc)
			if err != nil {
				t.Error(err)
				return
			}
			if waiting.Add(1) == atOnce { // the requests wait for their bodies
				for range atOnce {
					select {
					case <-begun:
					case <-ctx.Done():
					}
				}
				close(feed)
			}
			<-feed
			from, err := fetcher.Fetch(ctx, desc)
			if err == nil {
				err = errors.Join(content.Copy(ctx, to, from, desc.Size, d), from.Close())
			}
			if err = errors.Join(err, to.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
