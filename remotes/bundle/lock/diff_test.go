package lock_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

var amd64, arm64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}, ocispec.Platform{OS: "linux", Architecture: "arm64"}

// shelf has org/app:v1: web for both platforms, an image that is listed for both,
// and tools, an index for arm64 alone, with cli in it.
func shelf(t *testing.T) (*registrytest.Registry, lock.Ref) {
	r := clienttest.NewPublicRegistry(t)
	layer := func(name string) []byte { return registrytest.TarLayer(map[string]string{name: name}) }
	for_ := func(d ocispec.Descriptor, p ocispec.Platform) ocispec.Descriptor { d.Platform = &p; return d }
	origin := func(d ocispec.Descriptor, origin string) ocispec.Descriptor {
		d.Annotations[nested.OriginAnnotation] = origin
		return d
	}
	both := r.Image("org/app/both", layer("both"))
	tools := r.Index("org/app/tools", registrytest.Member(r.ImageFor(arm64, "org/app/tools/cli", layer("cli")), "cli"))
	index := r.Index("org/app",
		origin(registrytest.Member(r.ImageFor(amd64, "org/app/web", layer("web")), "web"), "docker.io/library/nginx:1.27"),
		registrytest.Member(r.ImageFor(arm64, "org/app/web", layer("web")), "web"),
		registrytest.Member(for_(both, amd64), "both"),
		registrytest.Member(for_(both, arm64), "both"),
		registrytest.Member(for_(tools, arm64), "tools"),
		r.ImageFor(amd64, "org/app", layer("own")))
	r.Tag("org/app", "v1", index.Digest)
	return r, clienttest.Must(lock.ReadRef(t.Context(), r.Host()+"/org/app:v1"))
}

func open(t *testing.T, ref lock.Ref) *bundle.Bundle {
	t.Helper()
	client := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	return clienttest.Must(ref.Open(t.Context(), nested.New(client, nested.Options{Complete: true})))
}

// locked is a reference by a lock, after an edit of its text.
func locked(t *testing.T, ref lock.Ref, s lock.Selection, edit func(string) string) lock.Ref {
	t.Helper()
	var text bytes.Buffer
	clienttest.NoError(t, clienttest.Must(lock.New(t.Context(), open(t, ref), ref.Tag(), s)).Write(&text))
	return clienttest.Must(lock.ReadRef(t.Context(), "lock:"+clienttest.File(t, []byte(edit(text.String())))))
}

func same(text string) string { return text }

// A lock and a walk may select different things: they are compared where both
// look.
func TestLockFitsWhatItWasMadeOf(t *testing.T) {
	_, ref := shelf(t)
	for _, s := range []lock.Selection{{}, {Platform: "linux/amd64"}, {Platform: "linux/arm64"}, {Selected: []string{"tools/cli"}}, {Platform: "linux/amd64", Selected: []string{"web", "both"}}} {
		byLock := locked(t, ref, s, same)
		for _, o := range []bundle.Selection{{}, {Platform: platforms.OnlyStrict(amd64)}, {Platform: platforms.OnlyStrict(arm64)}, {Members: []string{"web"}}, {Members: []string{"tools"}, Platform: platforms.OnlyStrict(arm64)}} {
			for _, blobs := range []bool{false, true} {
				if _, err := open(t, byLock).Walk(t.Context(), bundle.Options{Selection: o, Blobs: blobs}, bundle.Visitor{}); err != nil {
					t.Errorf("lock of %+v, walk of %+v: %v", s, o, err)
				}
			}
		}
		if d, err := byLock.Lock.Differences(t.Context(), open(t, ref), bundle.Selection{}); err != nil || len(d) > 0 {
			t.Errorf("lock of %+v: %v, %v", s, d, err)
		}
	}
}

// What a lock does not say of the bundle ends a walk, before a blob is fetched, and
// is a difference.
func TestEditedLocks(t *testing.T) {
	r, ref := shelf(t)
	whole := clienttest.Must(lock.New(t.Context(), open(t, ref), "v1", lock.Selection{}))
	web := whole.Members[slices.IndexFunc(whole.Members, func(m lock.Member) bool { return m.Platform == "linux/amd64" && m.Namespace == "web" })]
	blob := ""
	for d, size := range whole.Content {
		if size > 600 { // a layer
			blob = d.String()
		}
	}
	for name, test := range map[string]struct {
		old, new string
		want     string // the difference
		walks    bool   // a walk does not look so far
	}{
		"a digest":        {`"` + web.Digest.String() + `",`, `"` + someDigest + `",`, "member web: " + someDigest + " is locked, it is " + web.Digest.String(), false},
		"a name":          {`"namespace": "both"`, `"namespace": "booth"`, "member booth: ", false},
		"a member's type": {`"namespace": "tools/cli",`, `"namespace": "tools/cli", "origins": ["quay.io/cli:v1"],`, "member tools/cli: ", true},
		"an origin":       {`nginx:1.27`, `nginx:1.28`, "member web: ", true},
		"another origin":  {`"docker.io/library/nginx:1.27"`, `"docker.io/library/nginx:1.27", "quay.io/nginx:1"`, "member web: ", true},
		"a size":          {`"size": ` + "4", `"size": ` + "5", "is locked, it is ", false},
		"content":         {`"content": {`, `"content": {"` + someDigest + `": 1,`, "content: " + someDigest + " of 1 bytes is locked, and not in the bundle", true},
		"less content":    {`"` + blob + `": `, `"` + someDigest + `": `, "content: " + blob + " of", true},
		"a carrier":       {`"root": {`, `"carrier": "` + someDigest + `", "root": {`, "carrier: " + someDigest + " is locked, it is none", true},
		"the root's type": {`"platforms": [`, `"platforms": ["linux/arm",`, "root: " + whole.Root.Digest.String() + " of ", true},
		"the root":        {`"digest": "` + whole.Root.Digest.String(), `"digest": "` + someDigest, "has moved: " + someDigest + " is locked, it is " + whole.Root.Digest.String(), false},
	} {
		edited := locked(t, ref, lock.Selection{}, func(text string) string {
			if !strings.Contains(text, test.old) {
				t.Fatalf("%s: %q is not in %s", name, test.old, text)
			}
			return strings.Replace(text, test.old, test.new, 1)
		})
		d, err := edited.Lock.Differences(t.Context(), open(t, ref), bundle.Selection{})
		if err != nil || !slices.ContainsFunc(d, func(d lock.Difference) bool { return strings.Contains(d.Err.Error(), test.want) }) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
		r.ResetLog()
		err = walk(t.Context(), edited)
		if (err == nil) != test.walks || err != nil && (!errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: a walk ends with %v", name, err)
		}
		for _, line := range clienttest.Asked(r) {
			if strings.Contains(line, "blob") && !test.walks {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}

func walk(ctx context.Context, ref lock.Ref) error {
	client := registry.New(registry.Options{PlainHTTP: true})
	defer client.CloseIdleConnections()
	b, err := ref.Open(ctx, nested.New(client, nested.Options{Complete: true}))
	if err == nil {
		_, err = b.Walk(ctx, bundle.Options{Blobs: true}, bundle.Visitor{Fetch: func(ctx context.Context, n *bundle.Node) error {
			_, failed := bundle.FetchAll(ctx, b.Fetcher, n.Descriptor)
			return failed
		}})
	}
	return err
}
