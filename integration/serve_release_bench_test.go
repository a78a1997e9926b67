package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// releaseClients is how many clients pull a release at once.
const releaseClients = 500

// BenchmarkServeRelease has 500 clients, at addresses of their own, pull one release at once through two replicas, and
// prints what that costs registry, token server and replicas: with one login for all, and with one for each.
func BenchmarkServeRelease(b *testing.B) {
	for name, logins := range map[string]int{"one-login": 1, "own-logins": releaseClients} {
		b.Run(name, func(b *testing.B) {
			r := startReplicas(b, 0)
			for i := range logins {
				r.registry.tokens.know(fmt.Sprint("node", i), user{password: "canary", rights: pulls(everyRepository)})
			}
			base := newLayer(b, "base", randomBlob("", 1<<20).data)
			r.registry.pushNode(b, "org/app", "v1", newBundle(b, fleet(b, 0, 5, base, 1<<18)...))
			crowd := newCrowd(b, releaseClients, "https://"+r.host)
			for i, client := range crowd.clients {
				client.Transport = asUser{client.Transport.(asUser).RoundTripper, fmt.Sprint("node", i%logins)}
			}
			r.registry.requests()
			r.registry.tokens.requests()
			registryCPU, began := r.registry.program.cpu(b), time.Now()
			var fronts time.Duration
			for _, one := range r.processes {
				fronts -= one.cpu(b)
			}
			received := crowd.pullRelease(b, "/v2/org/app/")
			wall := time.Since(began)
			var peak, sent int64
			for _, one := range r.processes {
				fronts += one.cpu(b)
				peak = max(peak, peakOf(one.cmd.Process.Pid))
			}
			asked := r.registry.requests()
			for _, line := range asked {
				sent += line.Bytes
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(wall.Seconds(), "s")
			b.ReportMetric(float64(received.Load())/(1<<20), "MiB-clients")
			b.ReportMetric(float64(sent)/(1<<20), "MiB-registry")
			b.ReportMetric(float64(crowd.answers.Load()), "requests-clients")
			b.ReportMetric(float64(crowd.refused.Load()), "refused")
			b.ReportMetric(float64(len(asked)), "requests-registry")
			b.ReportMetric(float64(len(r.registry.tokens.requests())), "tokens")
			b.ReportMetric(fronts.Seconds(), "cpu-s-replicas")
			b.ReportMetric((r.registry.program.cpu(b) - registryCPU).Seconds(), "cpu-s-registry")
			b.ReportMetric(float64(peak)/(1<<20), "MiB-replica")
		})
	}
}

// release is a pull of one client.
type release struct {
	crowd  *clientCrowd
	client *http.Client
	path   string // of the repository
}

// pullRelease has every client pull what the tag v1 leads to, three things at a time as containerd does, and counts bytes.
func (c *clientCrowd) pullRelease(b *testing.B, path string) *atomic.Int64 {
	b.Helper()
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	for _, client := range c.clients {
		all.Go(func() {
			if err := (release{c, client, path}).pull(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	return &c.bytes
}

func (r release) pull(ctx context.Context) error {
	var index ocispec.Index
	if err := r.decode(ctx, "manifests/v1", &index); err != nil {
		return err
	}
	seen := map[string]bool{}
	var blobs []string
	for _, entry := range index.Manifests {
		var manifest ocispec.Manifest
		if err := r.decode(ctx, "manifests/"+entry.Digest.String(), &manifest); err != nil {
			return err
		}
		for _, blob := range append(manifest.Layers, manifest.Config) {
			if d := blob.Digest.String(); !seen[d] {
				seen[d] = true
				blobs = append(blobs, "blobs/"+d)
			}
		}
	}
	return r.fetchAll(ctx, blobs)
}

// fetchAll fetches three at a time.
func (r release) fetchAll(ctx context.Context, paths []string) error {
	next, errs := make(chan string), make(chan error, 3)
	for range 3 {
		go func() {
			var failed error
			for path := range next {
				if _, err := r.get(ctx, path, io.Discard); err != nil {
					failed = err
				}
			}
			errs <- failed
		}()
	}
	for _, path := range paths {
		next <- path
	}
	close(next)
	return errors.Join(<-errs, <-errs, <-errs)
}

func (r release) decode(ctx context.Context, path string, into any) error {
	var text bytes.Buffer
	if _, err := r.get(ctx, path, &text); err != nil {
		return err
	}
	return json.Unmarshal(text.Bytes(), into)
}

// get asks again when there was too much to do, as clients do.
func (r release) get(ctx context.Context, path string, to io.Writer) (int64, error) {
	for {
		n, wait, err := r.try(ctx, path, to)
		if wait == 0 {
			return n, err
		}
		time.Sleep(wait)
	}
}

func (r release) try(ctx context.Context, path string, to io.Writer) (n int64, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.crowd.at+r.path+path, http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Accept", ocispec.MediaTypeImageIndex+", "+ocispec.MediaTypeImageManifest)
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	r.crowd.answers.Add(1)
	switch resp.StatusCode {
	case http.StatusOK:
		n, err = io.Copy(to, resp.Body)
		r.crowd.bytes.Add(n)
		return n, 0, err
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		r.crowd.refused.Add(1)
		return 0, time.Second, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // for the message only
	return 0, 0, fmt.Errorf("%s: %s %s", path, resp.Status, text)
}
