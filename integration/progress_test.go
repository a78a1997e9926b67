package integration

import (
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/meter"
	"github.com/nestedoci/nested/remotes/nested"
	remote "github.com/nestedoci/nested/remotes/registry"
)

// witness is a progress that remembers.
type witness struct {
	mu                     sync.Mutex
	planned, ended, listed map[digest.Digest]bool
	counters               []*meter.Counter
}

func newWitness() *witness {
	return &witness{planned: map[digest.Digest]bool{}, ended: map[digest.Digest]bool{}, listed: map[digest.Digest]bool{}}
}

func (w *witness) note(in map[digest.Digest]bool, nodes ...*bundle.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		in[n.Digest] = true
	}
}

func (w *witness) Expand(n *bundle.Node) {
	w.note(w.planned, n.Children...)
	w.note(w.planned, n.Referrers...)
	w.note(w.listed, n)
}

func (w *witness) Begin(*bundle.Node) *meter.Counter {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := new(meter.Counter)
	w.counters = append(w.counters, c)
	return c
}

func (w *witness) End(n *bundle.Node) { w.note(w.ended, n) }

func (w *witness) Member(*bundle.Node) {}

// TestProgressOfCopies: of a copy, and of an index that is made of copies, everything that is planned ends, and what is
// sent is counted.
func TestProgressOfCopies(t *testing.T) {
	dst := startRegistry(t, nil)
	big := randomBlob("application/octet-stream", 1<<20)
	web, worker := newImage(t, amd64, "web\n", layer{content: big}), newImage(t, amd64, "worker\n", layer{content: big})
	src := publishAt(t, startRegistry(t, nil), newBundle(t, member{"web", web}, member{"tools/worker", worker}))
	client := remote.New(remote.Options{Credentials: auth.Sources{}, PlainHTTP: true})
	t.Cleanup(client.CloseIdleConnections)
	reference := func(s string) auth.Reference {
		ref, err := auth.ParseReference(s)
		must(t, err)
		return ref
	}
	from := func(auth.Repository) (*remote.Client, error) { return client, nil }
	for name, run := range map[string]func(*witness) error{
		"copy": func(w *witness) error {
			b, err := bundle.Open(t.Context(), nested.New(client, nested.Options{Complete: true}), reference(src.ref))
			must(t, err)
			_, err = bundle.Copy(t.Context(), b, client, reference(dst.ref("prod/app", "v1")).Repository(), "v1",
				bundle.CopyOptions{From: client, Progress: w, Options: bundle.Options{Referrers: true}})
			return err
		},
		"index of copies": func(w *witness) error {
			e := bundle.NewIndex(client, reference(dst.ref("made/app", "v1")).Repository())
			sources := []bundle.IndexSource{{Reference: reference(src.ref), Name: "app"}}
			must(t, e.Add(t.Context(), sources, bundle.AddOptions{Copy: &bundle.CopySources{From: from, Progress: w}}))
			_, err := e.Publish(t.Context(), []string{"v1"}, bundle.PublishOptions{Strategy: nested.Carrier})
			return err
		},
	} {
		w := newWitness()
		must(t, run(w))
		for d := range w.planned {
			if !w.ended[d] {
				t.Errorf("%s: %s is planned and does not end", name, d)
			}
		}
		for d := range w.ended {
			if !w.planned[d] {
				t.Errorf("%s: %s ends and was not planned", name, d)
			}
		}
		for _, n := range []node{src.bundle, web, worker} {
			if !w.listed[n.desc.Digest] {
				t.Errorf("%s: what %s lists is not known at the end", name, n.desc.Digest)
			}
		}
		var read int64
		for _, c := range w.counters {
			read += c.Read.Load()
		}
		if read < 1<<20 || read > 3<<19 {
			t.Errorf("%s: %d bytes are counted, of which most are one layer", name, read)
		}
	}
}
