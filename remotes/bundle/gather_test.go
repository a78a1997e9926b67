package bundle_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// gathering is an index for org/app on a registry, made of sources on others.
type gathering struct {
	client *registry.Client
	dest   *registrytest.Registry
	copies *bundle.CopySources
}

func newGathering(t *testing.T) gathering {
	client := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	from := func(auth.Repository) (*registry.Client, error) { return client, nil }
	dest := clienttest.NewRegistry(t)
	dest.Intercept(dest.Pushes(false)) // it may be pushed to
	return gathering{client, dest, &bundle.CopySources{From: from}}
}

// add adds sources to a new index.
func (g gathering) add(t *testing.T, sources ...string) (*bundle.Edit, error) {
	t.Helper()
	e := bundle.NewIndex(g.client, reference(g.dest.Host()+"/org/app:v1").Repository())
	return e, g.addTo(t, e, sources...)
}

func (g gathering) addTo(t *testing.T, e *bundle.Edit, sources ...string) error {
	t.Helper()
	var all []bundle.IndexSource
	for _, s := range sources {
		name, text, named := strings.Cut(s, "=")
		if !named {
			name, text = "", s
		}
		ref, tag, err := auth.ParseWritten(text)
		clienttest.NoError(t, err)
		if ref.Digest() == "" {
			tag = ""
		}
		all = append(all, bundle.IndexSource{Reference: ref, Tag: tag, Name: name})
	}
	return e.Add(t.Context(), all, bundle.AddOptions{Copy: g.copies})
}

// publish publishes an index, and returns what it says of each child namespace.
func (g gathering) publish(t *testing.T, e *bundle.Edit, err error) []string {
	t.Helper()
	clienttest.NoError(t, err)
	data, _, err := e.Bytes()
	clienttest.NoError(t, err)
	_, err = e.Publish(t.Context(), []string{"v1"}, bundle.PublishOptions{})
	clienttest.NoError(t, err)
	var index ocispec.Index
	clienttest.NoError(t, json.Unmarshal(data, &index))
	var says []string
	for _, d := range index.Manifests {
		says = append(says, d.Annotations[nested.Annotation]+" "+d.Annotations[nested.OriginAnnotation])
	}
	return says
}

// walk reads everything of the published index, blobs too, and returns the members' namespaces.
func (g gathering) walk(t *testing.T) []string {
	t.Helper()
	b := opened(t, g.dest, "org/app:v1")
	_, err := bundle.Copy(t.Context(), b, g.client, reference(g.dest.Host()+"/elsewhere:v1").Repository(), "v1", bundle.CopyOptions{From: g.client})
	clienttest.NoError(t, err)
	walked, err := b.Walk(t.Context(), bundle.Options{}, bundle.Visitor{})
	clienttest.NoError(t, err)
	var names []string
	for _, n := range walked.MemberNodes() {
		names = append(names, n.Namespace)
	}
	return names
}

// TestGather: what is copied, where to, by which requests, and what the index says of it.
func TestGather(t *testing.T) {
	g, from, other := newGathering(t), clienttest.NewRegistry(t), clienttest.NewRegistry(t)
	nginx, redis := clienttest.PutImage(from, "library/nginx", "base", "nginx"), clienttest.PutImage(other, "team/redis", "base", "redis")
	from.Tag("library/nginx", "1.27", nginx.Digest)
	own := clienttest.PutImage(g.dest, "org/app/tools/own", "own")
	e, err := g.add(t, from.Host()+"/library/nginx:1.27", "cache/redis="+other.Host()+"/team/redis:7@"+redis.Digest.String(), g.dest.Host()+"/org/app/tools/own@"+own.Digest.String())
	clienttest.NoError(t, err)
	if sent := g.dest.Log(func(q registrytest.Request) bool { return q.Method != "GET" && q.Method != "HEAD" }); len(sent) > 0 {
		t.Errorf("before the index was published: %v", sent)
	}
	g.dest.ResetLog()
	says := g.publish(t, e, nil)
	want := []string{
		"nginx " + from.Host() + "/library/nginx:1.27@" + nginx.Digest.String(),
		"cache/redis " + other.Host() + "/team/redis:7@" + redis.Digest.String(),
		"tools/own ",
	}
	if !slices.Equal(says, want) {
		t.Errorf("the index says %q\nwant %q", says, want)
	}
	if names := g.walk(t); !slices.Equal(names, []string{"cache/redis", "nginx", "tools/own"}) {
		t.Errorf("members %q", names)
	}
}

// TestGatherAsksOnce: each manifest is asked for once, also when it describes a member, and each blob is sent once,
// whichever of the images that share it comes first; what is there already is not sent again.
func TestGatherAsksOnce(t *testing.T) {
	g, from := newGathering(t), clienttest.NewRegistry(t)
	const images = 20
	var sources []string
	for i := range images {
		repository := fmt.Sprintf("team/image%d", i)
		image := clienttest.PutImage(from, repository, "base", "layer"+fmt.Sprint(i))
		sources = append(sources, from.Host()+"/"+repository+"@"+image.Digest.String())
	}
	e, err := g.add(t, sources...)
	g.publish(t, e, err)
	const shared, own = 1, 2 // blobs: the base; config and layer
	wantCounts(t, from, map[string]int{
		"GET manifest": images,
		"GET blob":     images*own + shared,
		"HEAD blob":    images - 1, // that this repository has the base, too, before it is mounted from another one
	})
	const carrier = 2 // blobs: the index and the empty config
	wantCounts(t, g.dest, map[string]int{
		"HEAD blob":     images*(own+shared) + carrier,
		"POST upload":   images*(own+shared) + carrier,
		"PUT upload":    images*own + shared + carrier,
		"HEAD manifest": images + 1,
		"PUT manifest":  images + 1,
		"GET support":   1,
	})
	from.ResetLog()
	g.dest.ResetLog()
	e, err = g.add(t, sources...)
	g.publish(t, e, err)
	wantCounts(t, from, map[string]int{"GET manifest": images, "GET blob": images, "HEAD blob": images - 1}) // the configs describe members
	wantCounts(t, g.dest, map[string]int{"HEAD blob": images*(own+shared) + carrier, "HEAD manifest": images + 1})
}

// wantCounts fails unless these requests were made, and no others.
func wantCounts(t *testing.T, r *registrytest.Registry, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for _, q := range r.Log() {
		got[q.Method+" "+string(q.Kind)]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("requests %v\nwant     %v", got, want)
	}
}

// TestGatherBundle: a source that is a bundle keeps its members below it, in a carrier and without one; so does one
// of several platforms, and all of it is protected.
func TestGatherBundle(t *testing.T) {
	g, from := newGathering(t), clienttest.NewRegistry(t)
	clienttest.PutBundle(from, "org/inner")
	amd64, arm64 := clienttest.PutImage(from, "org/many", "amd64"), clienttest.PutImage(from, "org/many", "arm64")
	from.Put("org/many", ocispec.MediaTypeImageIndex, clienttest.IndexOf(amd64.Descriptor, arm64.Descriptor), "v1")
	e, err := g.add(t, from.Host()+"/org/inner:v1", from.Host()+"/org/many:v1")
	g.publish(t, e, err)
	if names := g.walk(t); !slices.Equal(names, []string{"inner", "inner/web", "many"}) {
		t.Errorf("members %q", names)
	}
	_, desc, err := e.Bytes()
	clienttest.NoError(t, err)
	for _, repository := range []string{"org/app/inner", "org/app/inner/web", "org/app/many"} {
		_, _, err = g.client.Resolve(t.Context(), g.dest.Host()+"/"+repository+":"+nested.Protect(desc.Digest).Tags(desc.Digest)[0])
		if err != nil {
			t.Errorf("%s is not protected: %v", repository, err)
		}
	}
	// From there it is a carrier's.
	g.copies.Referrers = true
	e, err = g.add(t, "again="+g.dest.Host()+"/elsewhere/inner@"+innerOf(t, g))
	g.publish(t, e, err)
	if names := g.walk(t); !slices.Equal(names, []string{"again", "again/web"}) {
		t.Errorf("members %q", names)
	}
}

// innerOf is the digest of the member inner of the copy that walk makes.
func innerOf(t *testing.T, g gathering) string {
	t.Helper()
	b := opened(t, g.dest, "elsewhere:v1")
	walked, err := b.Walk(t.Context(), bundle.Options{}, bundle.Visitor{})
	clienttest.NoError(t, err)
	return walked.MemberNodes()[0].Stored().Digest.String()
}

// TestGatherNothingWithoutAll: a source that is missing, or a part of one, leaves no tag.
func TestGatherNothingWithoutAll(t *testing.T) {
	g, from := newGathering(t), clienttest.NewRegistry(t)
	whole, broken := clienttest.PutImage(from, "a/whole", "x"), clienttest.PutImage(from, "a/broken", "y")
	sources := []string{from.Host() + "/a/whole@" + whole.Digest.String(), from.Host() + "/a/broken@" + broken.Digest.String()}
	if _, err := g.add(t, append(sources, from.Host()+"/a/none:v1")...); !errdefs.IsNotFound(err) {
		t.Errorf("a source that is missing: %v", err)
	}
	if asked := g.dest.Log(); len(asked) > 0 {
		t.Errorf("with a source that is missing, the destination was asked %v", asked)
	}
	from.Delete("a/broken", broken.Layers[0].Digest)
	e, err := g.add(t, sources...)
	clienttest.NoError(t, err)
	_, err = e.Publish(t.Context(), []string{"v1"}, bundle.PublishOptions{})
	clienttest.WantError(t, err, "a/broken")
	if n := g.dest.Count(registrytest.In("org/app"), registrytest.Method("PUT")); n > 0 {
		t.Errorf("the index was pushed")
	}
}

// TestGatherNames: the repositories below the index's that sources are copied to.
func TestGatherNames(t *testing.T) {
	g := newGathering(t)
	two := clienttest.NewRegistry(t)
	long := strings.Repeat("a", 235)
	for _, r := range []string{"library/nginx", "bitnami/nginx", "library/redis", "x/y/redis", "z/y/redis", "nginx", "org/app", "org/app/own", "a.b/c__d/e-f", "own", long} {
		image := clienttest.PutImage(g.dest, r, r)
		g.dest.Tag(r, "v1", image.Digest)
		g.dest.Tag(r, "v2", image.Digest)
		two.Put(r, image.MediaType, []byte(g.dest.Body(image.Digest)), "v1")
		for _, d := range image.Parts() {
			two.PutBlob(r, d.MediaType, []byte(g.dest.Body(d.Digest)))
		}
	}
	host := strings.ReplaceAll(two.Host(), ":", "-")
	for name, test := range map[string]struct {
		sources []string // on the destination's registry, or with 2/ in front on the other
		want    []string
		says    string
	}{
		"last component":               {sources: []string{"library/nginx:v1", "a.b/c__d/e-f:v1"}, want: []string{"nginx", "e-f"}},
		"until they differ":            {sources: []string{"library/nginx:v1", "bitnami/nginx:v1", "library/redis:v1"}, want: []string{"library/nginx", "bitnami/nginx", "redis"}},
		"only those that do not":       {sources: []string{"x/y/redis:v1", "z/y/redis:v1", "library/redis:v1"}, want: []string{"x/y/redis", "z/y/redis", "library/redis"}},
		"two tags of a repository":     {sources: []string{"library/nginx:v1", "library/nginx:v2"}, want: []string{"nginx", "nginx"}},
		"two registries":               {sources: []string{"library/nginx:v1", "2/library/nginx:v1"}, want: []string{strings.ReplaceAll(g.dest.Host(), ":", "-") + "/library/nginx", host + "/library/nginx"}},
		"one is no longer than it can": {sources: []string{"nginx:v1", "2/library/nginx:v1"}, want: []string{strings.ReplaceAll(g.dest.Host(), ":", "-") + "/nginx", "library/nginx"}},
		"given":                        {sources: []string{"nginx=bitnami/nginx:v1", "library/nginx:v1"}, want: []string{"nginx", "library/nginx"}},
		"there":                        {sources: []string{"own:v1", "org/app/own:v1"}, want: []string{strings.ReplaceAll(g.dest.Host(), ":", "-") + "/own", "own"}},
		"the parent itself":            {sources: []string{"org/app:v1"}, want: []string{"app"}},
		"given twice":                  {sources: []string{"web=bitnami/nginx:v1", "web=library/nginx:v1"}, says: "the name web is that of"},
		"given and there":              {sources: []string{"own=bitnami/nginx:v1", "org/app/own:v1"}, says: "the name own is that of"},
		"no name":                      {sources: []string{"Web=bitnami/nginx:v1"}, says: `child namespace "Web": not a relative repository path`},
		"too long":                     {sources: []string{long + ":v1"}, says: "longer than 255 characters; give it a shorter name, as NAME=SOURCE"},
	} {
		t.Run(name, func(t *testing.T) {
			var sources []string
			for _, s := range test.sources {
				given, ref, named := strings.Cut(s, "=")
				if !named {
					given, ref = "", s
				}
				at := g.dest.Host()
				if after, ok := strings.CutPrefix(ref, "2/"); ok {
					at, ref = two.Host(), after
				}
				sources = append(sources, strings.TrimPrefix(given+"="+at+"/"+ref, "="))
			}
			e, err := g.add(t, sources...)
			if test.says != "" {
				if clienttest.WantError(t, err, test.says); !errdefs.IsInvalidArgument(err) {
					t.Errorf("%v is not about the arguments", err)
				}
				return
			}
			clienttest.NoError(t, err)
			var got []string
			for _, m := range e.Members() {
				name, _, _ := strings.Cut(strings.TrimPrefix(m, g.dest.Host()+"/org/app/"), "@")
				got = append(got, name)
			}
			if want := unique(test.want); !slices.Equal(got, want) {
				t.Errorf("names %q, want %q", got, want)
			}
		})
	}
}

func unique(all []string) []string {
	return slices.Compact(slices.Clone(all))
}

// TestGatherIntoIndex: an image of a repository that a member was copied from goes to that member; others do not.
func TestGatherIntoIndex(t *testing.T) {
	g, from := newGathering(t), clienttest.NewRegistry(t)
	for _, r := range []string{"library/nginx", "bitnami/nginx"} {
		from.Tag(r, "v1", clienttest.PutImage(from, r, r).Digest)
		from.Tag(r, "v2", clienttest.PutImage(from, r, r, "more").Digest)
	}
	e, err := g.add(t, from.Host()+"/library/nginx:v1")
	g.publish(t, e, err)
	e, err = bundle.EditIndex(t.Context(), g.client, reference(g.dest.Host()+"/org/app:v1"))
	clienttest.NoError(t, err)
	says := g.publish(t, e, g.addTo(t, e, from.Host()+"/library/nginx:v2", from.Host()+"/bitnami/nginx:v1"))
	for i, want := range []string{"nginx ", "nginx ", "bitnami/nginx "} {
		if !strings.HasPrefix(says[i], want) {
			t.Errorf("entry %d says %q, want %q", i, says[i], want)
		}
	}
	g.walk(t)
}

// TestGatherWhatMayNotBeDistributed: such layers stay where they are, and are named.
func TestGatherWhatMayNotBeDistributed(t *testing.T) {
	g, from := newGathering(t), clienttest.NewRegistry(t)
	image := clienttest.NewImage("windows", "base")
	foreign := image.Layers[0]
	foreign.MediaType, foreign.URLs = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []string{"https://example.com/x"}
	config := from.PutBlob("a/windows", image.Config.MediaType, []byte("{}"))
	m := from.Put("a/windows", ocispec.MediaTypeImageManifest, clienttest.ManifestOf(config, foreign), "v1")
	e, err := g.add(t, from.Host()+"/a/windows:v1")
	g.publish(t, e, err)
	if got := e.NonDistributable(); !slices.Equal(got, []string{from.Host() + "/a/windows@" + foreign.Digest.String()}) {
		t.Errorf("left out %q of %s", got, m.Digest)
	}
}
