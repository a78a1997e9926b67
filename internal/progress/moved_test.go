package progress

import (
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestEverythingIsPlannedAndEnds: of a pull, what is planned is what ends, all lists become known,
// and bytes are counted for what is not there yet.
func TestEverythingIsPlannedAndEnds(t *testing.T) {
	r := clienttest.NewRegistry(t)
	shared := registrytest.TarLayer(map[string]string{"shared": "content"})
	web := r.Image("org/app/web", shared, registrytest.TarLayer(map[string]string{"web": "content"}))
	worker := r.Image("org/app/tools/worker", shared)
	tools := r.Index("org/app/tools", registrytest.Member(worker, "worker"))
	root := r.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(tools, "tools"))
	r.Tag("org/app", "v1", root.Digest)
	client := registry.New(registry.Options{Credentials: auth.Sources{}, PlainHTTP: true})
	t.Cleanup(client.CloseIdleConnections)
	ref, err := auth.ParseReference(r.Host() + "/org/app:v1")
	clienttest.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "layout")
	pull := func(o bundle.Options, p *Progress) error {
		b, err := bundle.Open(t.Context(), nested.New(client, nested.Options{Complete: true}), ref)
		clienttest.NoError(t, err)
		to, err := layout.Create(dir)
		clienttest.NoError(t, err)
		defer to.Close()
		_, err = bundle.Pull(t.Context(), b, to, "app", bundle.PullOptions{Options: o, Progress: p})
		return err
	}
	for _, test := range []struct {
		name  string
		moves bool
		run   func(*Progress) error
	}{
		{"pull of a member", true, func(p *Progress) error {
			return pull(bundle.Options{Selection: bundle.Selection{Members: []string{"web"}}}, p)
		}},
		{"pull of the rest", true, func(p *Progress) error { return pull(bundle.Options{}, p) }},
		{"pull again", false, func(p *Progress) error { return pull(bundle.Options{}, p) }},
	} {
		p := &Progress{quiet: true, amounts: newAmounts()}
		if err := test.run(p); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		all, members := p.amounts.now()
		if all.total == 0 || all.done != all.total || all.unread != 0 || len(members) != 0 || (all.moved > 0) != test.moves {
			t.Errorf("%s: %+v, and on their way %+v", test.name, all, members)
		}
	}
}
