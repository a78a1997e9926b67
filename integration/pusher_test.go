package integration

import (
	"bytes"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	contentstore "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	localstore "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	registryclient "github.com/nestedoci/nested/remotes/registry"
)

// newChain makes a bundle with all that a push has to tell apart: a member for two platforms that shares a layer with
// another one, a bundle in the bundle, an artifact, and an image without a child namespace.
func newChain(t *testing.T) node {
	t.Helper()
	app := newApp(t)
	inner := newBundle(t, member{"b", newImage(t, amd64, "a/b\n", baseLayer(t))})
	file := newArtifact(t, "application/vnd.test", randomBlob("application/x-test", 1<<16))
	own := newImage(t, amd64, "own\n", baseLayer(t))
	bundle := newBundle(t, append(app.members, member{"a", inner}, member{"files/one", file})...)
	entries := newIndex(t, own)
	made := mergeIndexes(t, bundle, entries)
	made.members, made.nodes = bundle.members, entries.nodes
	return made
}

// newStore makes a content store with nodes and all that belongs to them, but for what is left out.
func newStore(t *testing.T, n node, without ...node) contentstore.Store {
	t.Helper()
	store, err := localstore.NewStore(t.TempDir())
	must(t, err)
	absent := map[digest.Digest]bool{}
	for _, w := range without {
		walkContents("", w, func(_ string, c content) { absent[c.desc.Digest] = true })
	}
	walkContents("", n, func(_ string, c content) {
		if !absent[c.desc.Digest] {
			must(t, contentstore.WriteBlob(t.Context(), store, c.desc.Digest.String(), bytes.NewReader(c.data), c.desc))
		}
	})
	return store
}

// walkContents calls visit with each piece of content of a node and with the repository where it belongs.
func walkContents(repository string, n node, visit func(repository string, c content)) {
	visit(repository, n.content)
	for _, blob := range n.blobs {
		visit(repository, blob)
	}
	for _, inner := range n.nodes {
		walkContents(repository, inner, visit)
	}
	for _, m := range n.members {
		walkContents(repository+"/"+m.namespace, m.node, visit)
	}
}

// blobsOf are the digests of a node's blobs, by repository.
func blobsOf(repository string, n node) map[string]map[digest.Digest]bool {
	blobs := map[string]map[digest.Digest]bool{}
	walkContents(repository, n, func(repository string, c content) {
		if blobs[repository] == nil {
			blobs[repository] = map[digest.Digest]bool{}
		}
		if !isManifest(c) {
			blobs[repository][c.desc.Digest] = true
		}
	})
	return blobs
}

func isManifest(c content) bool {
	return strings.Contains(c.desc.MediaType, "manifest") || strings.Contains(c.desc.MediaType, "image.index")
}

// countBlobs counts them, those that are in several repositories once each, and once in all.
func countBlobs(blobs map[string]map[digest.Digest]bool) (placed, distinct int) {
	all := map[digest.Digest]bool{}
	for _, digests := range blobs {
		placed += len(digests)
		maps.Copy(all, digests)
	}
	return placed, len(all)
}

// has asks past the log.
func (r *registry) has(t testing.TB, repository string, c content) bool {
	t.Helper()
	kind := "blobs/"
	if isManifest(c) {
		kind = "manifests/"
	}
	status, _ := r.head(t, repository, kind+c.desc.Digest.String(), c.desc.MediaType)
	return status == http.StatusOK
}

// head asks past the log for the headers of content.
func (r *registry) head(t testing.TB, repository, path, accept string) (status int, headers http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "http://registry/v2/"+repository+"/"+path, http.NoBody)
	must(t, err)
	req.Header.Set("Accept", accept)
	if r.tokens != nil {
		req.Header.Set("Authorization", "Bearer "+r.tokens.adminToken(t, repository))
	}
	answer, err := r.direct.Do(req)
	must(t, err)
	must(t, answer.Body.Close())
	return answer.StatusCode, answer.Header
}

// checkPlaced checks that each piece of content is in the repositories where it belongs and in no other of the node's,
// but for what is left out, which is nowhere.
func (r *registry) checkPlaced(t *testing.T, repository string, n node, without ...node) {
	t.Helper()
	absent := map[digest.Digest]bool{}
	for _, w := range without {
		walkContents("", w, func(_ string, c content) { absent[c.desc.Digest] = true })
	}
	contents, places := map[digest.Digest]content{}, map[digest.Digest][]string{}
	walkContents(repository, n, func(repository string, c content) {
		contents[c.desc.Digest] = c
		if !absent[c.desc.Digest] {
			places[c.desc.Digest] = append(places[c.desc.Digest], repository)
		}
	})
	for d, c := range contents {
		for _, at := range allRepositories(repository, n) {
			if want := slices.Contains(places[d], at); r.has(t, at, c) != want {
				t.Errorf("%s %s in %s: %t, want %t", c.desc.MediaType, d, at, !want, want)
			}
		}
	}
}

// allRepositories are those of a node, below entries of the same repository too.
func allRepositories(repository string, n node) []string {
	found := map[string]bool{}
	walkContents(repository, n, func(repository string, _ content) { found[repository] = true })
	return slices.Sorted(maps.Keys(found))
}

// pushFrom pushes a node from a store with containerd's own code.
func pushFrom(t *testing.T, resolver remotes.Resolver, ref string, n node, store contentstore.Store, matcher platforms.MatchComparer) error {
	t.Helper()
	pusher, err := resolver.Pusher(t.Context(), ref+"@"+n.desc.Digest.String())
	must(t, err)
	return remotes.PushContent(t.Context(), pusher, n.desc, store, nil, matcher, nil)
}

// registriesFor has a credential for each key.
func registriesFor(t *testing.T, logins map[string]login, options registryclient.Options) *registryclient.Client {
	t.Helper()
	options.Credentials = auth.NewStores(auth.StoresOptions{Files: []string{dockerConfig(t, logins, nil) + "/config.json"}})
	options.PlainHTTP = true
	registries := registryclient.New(options)
	t.Cleanup(registries.CloseIdleConnections)
	return registries
}

// uploads are the requests of a kind about blobs that begin or end there: a mount is a POST that is answered by 201, a
// refused one by a denial of a token.
func uploads(log []request, method string, status int) int {
	return len(only(log, func(r request) bool {
		return r.Kind == "uploads" && r.Method == method && r.Status == status && r.Authorized
	}))
}

// TestPusher: what a bundle holds goes where its members belong and nowhere else. Who may use all of its repositories
// has shared layers mounted; where each has a user of its own they are uploaded to each, in tokens of that user alone.
func TestPusher(t *testing.T) {
	bundle := newChain(t)
	store := newStore(t, bundle)
	all := allRepositories("org/app", bundle)
	placed, distinct := countBlobs(blobsOf("org/app", bundle))
	if placed-distinct != 1 {
		t.Fatalf("%d blobs in %d places: one should be shared", distinct, placed)
	}
	for _, separate := range []bool{false, true} {
		name := map[bool]string{false: "one user", true: "separate users"}[separate]
		t.Run(name, func(t *testing.T) {
			alice := login{"alice", "canary of alice"}
			users := map[string]user{alice.username: {password: alice.password, rights: pushes(all...)}}
			logins := map[string]login{}
			loginFor := func(string) login { return alice }
			if separate {
				users, loginFor = map[string]user{}, loginOf
				for _, repository := range all {
					users[loginOf(repository).username] = user{password: loginOf(repository).password, rights: pushes(repository)}
				}
			}
			tokens := startTokenServer(t, users)
			reg := startRegistry(t, tokens)
			for _, repository := range all {
				logins[reg.host+"/"+repository] = loginFor(repository)
			}
			resolver := nested.New(registriesFor(t, logins, registryclient.Options{}), nested.Options{Store: store, Strategy: nested.Reference})
			must(t, pushFrom(t, resolver, reg.ref("org/app", "v1"), bundle, store, platforms.All))

			log := reg.requests()
			reg.checkPlaced(t, "org/app", bundle)
			puts, mounts, refused := uploads(log, "PUT", 201), uploads(log, "POST", 201), uploads(log, "POST", 401)
			if separate && (puts != placed || mounts != 0 || refused != 1) || !separate && (puts != distinct || mounts != 1 || refused != 0) {
				t.Errorf("%d uploads, %d mounts, %d refused, of %d blobs in %d places", puts, mounts, refused, distinct, placed)
				showLog(t, log)
			}
			if tags := only(log, func(r request) bool { return r.Method == "PUT" && r.Reference == "v1" }); len(tags) != 1 || tags[0].Repository != "org/app" {
				t.Errorf("tags: %+v", tags)
			}
			asked := map[string]int{}
			for _, line := range tokens.requests() {
				asked[strings.Join(line.Scopes, " ")]++
				var target, source string
				for _, scope := range line.Scopes {
					repository, actions, _ := parseScope(scope)
					if slices.Equal(actions, []string{"pull", "push"}) {
						target = repository
					} else {
						source = repository
					}
				}
				if line.Status != 200 || line.User != loginFor(target).username || len(line.Scopes) > 2 || len(line.Scopes) == 2 && source == "" {
					t.Errorf("token request %+v", line)
				}
			}
			if len(asked) != len(all)+1 || slices.Max(slices.Collect(maps.Values(asked))) != 1 {
				t.Errorf("token requests: %v", asked)
			}

			must(t, pushFrom(t, resolver, reg.ref("org/app", "v1"), bundle, store, platforms.All))
			if log := only(reg.requests(), func(r request) bool { return r.Method != "HEAD" }); len(log) > 0 {
				t.Errorf("a second push: %+v", log)
			}
		})
	}
}

// TestPusherCarrier: the index that a carrier carries is a blob beside it, and its members are below.
func TestPusherCarrier(t *testing.T) {
	inner := newApp(t)
	carrier := newCarrier(t, inner)
	carrier.blobs[0].desc.MediaType = "application/octet-stream" // as which it is looked for
	for name, root := range map[string]node{"member": newBundle(t, member{"sub", carrier}), "root": carrier} {
		store := newStore(t, root)
		reg := startRegistry(t, nil)
		resolver := nested.New(registriesFor(t, nil, registryclient.Options{}), nested.Options{Store: store, Strategy: nested.Reference})
		must(t, pushFrom(t, resolver, reg.ref("org/app", "v1"), root, store, platforms.All))
		reg.checkPlaced(t, "org/app", root)
		if puts := only(reg.requests(), func(r request) bool { return r.Method == "PUT" && r.Reference == inner.desc.Digest.String() }); len(puts) > 0 {
			t.Errorf("%s: %+v", name, puts)
		}
		layout := filepath.Join(t.TempDir(), "layout")
		newNestctl(t, dockerConfig(t, nil, nil)).run(t, "pull", "--plain-http", "--to", "oci-layout:"+layout, reg.ref("org/app", "v1"))
		if names := len(layoutIndex(t, layout).Manifests); names < 3 {
			t.Errorf("%s: %d names in the layout", name, names)
		}
	}
}

// TestPusherEmptyBlob: which is there when its manifest arrives.
func TestPusherEmptyBlob(t *testing.T) {
	file := newArtifact(t, "application/vnd.test", newContent("application/x-test", nil))
	bundle := newBundle(t, member{"file", file}, member{"copy", file})
	store := newStore(t, bundle)
	reg := startRegistry(t, nil)
	resolver := nested.New(registriesFor(t, nil, registryclient.Options{}), nested.Options{Store: store, Strategy: nested.Reference})
	must(t, pushFrom(t, resolver, reg.ref("org/app", "v1"), bundle, store, platforms.All))
	reg.checkPlaced(t, "org/app", bundle)
}

// TestPusherPlain: of a plain index the registry sees what it sees from a pusher that knows nothing of child
// namespaces: a layer of two images once.
func TestPusherPlain(t *testing.T) {
	base := baseLayer(t)
	index := newIndex(t, newImage(t, amd64, "amd64\n", base), newImage(t, arm64, "arm64\n", base))
	store := newStore(t, index)
	_, distinct := countBlobs(blobsOf("", index))
	reg := startRegistry(t, nil)
	registries := registriesFor(t, nil, registryclient.Options{})
	var logs []map[request]int
	for repository, resolver := range map[string]remotes.Resolver{"org/plain": registries, "org/nested": nested.New(registries, nested.Options{Store: store, Strategy: nested.Reference})} {
		must(t, pushFrom(t, resolver, reg.ref(repository, "v1"), index, store, platforms.All))
		log := tally(reg.requests(), withoutNames)
		if puts := log[request{Method: "PUT", Kind: "uploads", Status: 201}]; puts != distinct {
			t.Errorf("%s: %d uploads of %d blobs", repository, puts, distinct)
		}
		reg.checkPlaced(t, repository, index)
		logs = append(logs, log)
	}
	if !maps.Equal(logs[0], logs[1]) {
		t.Errorf("%v\n%v", logs[0], logs[1])
	}
}

// withoutNames is a request without what differs between two pushes of the same content.
func withoutNames(r request) request {
	r.Repository, r.Bytes, r.Sent = "", 0, 0
	if r.Kind == "uploads" {
		r.Reference = ""
	}
	return r
}

// TestPusherBelowPlain: a nested index that is an entry of a plain one has its members below the same repository.
func TestPusherBelowPlain(t *testing.T) {
	index := newIndex(t, newApp(t), newImage(t, amd64, "own\n", baseLayer(t)))
	store := newStore(t, index)
	reg := startRegistry(t, nil)
	resolver := nested.New(registriesFor(t, nil, registryclient.Options{}), nested.Options{Store: store, Strategy: nested.Reference})
	must(t, pushFrom(t, resolver, reg.ref("org/app", "v1"), index, store, platforms.All))
	reg.checkPlaced(t, "org/app", index)
}

// TestPusherPlatform: of what is not in the store, because it is for another platform, nothing is asked for.
func TestPusherPlatform(t *testing.T) {
	base := baseLayer(t)
	other := newImage(t, arm64, "web on arm64\n", base)
	elsewhere := newImage(t, arm64, "worker\n", baseLayer(t))
	bundle := newBundle(t, member{"web", newIndex(t, newImage(t, amd64, "web on amd64\n", base), other)}, member{"worker", elsewhere})
	other.blobs = other.blobs[1:] // all but what it shares
	store := newStore(t, bundle, other, elsewhere)
	reg := startRegistry(t, nil)
	resolver := nested.New(registriesFor(t, nil, registryclient.Options{}), nested.Options{Store: store, Strategy: nested.Reference})
	must(t, pushFrom(t, resolver, reg.ref("org/app", "v1"), bundle, store, platforms.Only(amd64)))
	reg.checkPlaced(t, "org/app", bundle, other, elsewhere)
}
