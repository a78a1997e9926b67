package integration

import (
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// attachedTo is the tag under which cosign 2 attaches something to content.
func attachedTo(d digest.Digest, end string) string {
	return strings.Replace(d.String(), ":", "-", 1) + end
}

// newAttached is what cosign 2 would attach: an artifact that does not say what it is attached to.
func newAttached(t testing.TB, texts ...string) node {
	t.Helper()
	var layers []content
	for _, text := range texts {
		layers = append(layers, newContent("application/vnd.dev.cosign.simplesigning.v1+json", []byte(text)))
	}
	return newArtifact(t, "application/vnd.test.signatures", layers...)
}

// newSignatures is what cosign attaches for several keys: what they sign is the same text, and only annotations differ.
func newSignatures(t testing.TB, signatures ...string) node {
	t.Helper()
	var layers []content
	for _, signature := range signatures {
		layer := newContent("application/vnd.dev.cosign.simplesigning.v1+json", []byte("what is signed"))
		layer.desc.Annotations = map[string]string{"dev.cosignproject.cosign/signature": signature}
		layers = append(layers, layer)
	}
	return newArtifact(t, "application/vnd.test.signatures", layers...)
}

// attachAll attaches something to the root of a deep bundle, to members and to one platform of a member, and says where.
func attachAll(t testing.TB, reg *registry, parent string, bundle node) map[string]node {
	t.Helper()
	web, db := bundle.members[0].node, bundle.members[2].node.members[0].node
	attached := map[string]node{}
	for at, tag := range map[string]string{
		"":         attachedTo(bundle.desc.Digest, ".sig"),
		"/web":     attachedTo(web.desc.Digest, ".sig"),
		"/web/":    attachedTo(web.nodes[0].desc.Digest, ".sbom"),
		"/data/db": attachedTo(db.desc.Digest, ".att"),
	} {
		at = strings.TrimSuffix(at, "/")
		n := newAttached(t, "attached to "+tag)
		attached[at+":"+tag] = n
		reg.pushNode(t, parent+at, tag, n)
	}
	return attached
}

// carried checks that everything attached is under its tag.
func carried(t testing.TB, reg *registry, parent string, attached map[string]node) {
	t.Helper()
	for at, n := range attached {
		path, tag, _ := strings.Cut(at, ":")
		if !reg.taggedAs(t, parent+path, tag, n) {
			t.Errorf("%s%s is not %s", parent, at, n.desc.Digest)
		}
		for _, blob := range n.blobs {
			if !reg.has(t, parent+path, blob) {
				t.Errorf("%s%s lacks %s", parent, at, blob.desc.Digest)
			}
		}
	}
}

// taggedAs asks past the log whether a tag is that of a node.
func (r *registry) taggedAs(t testing.TB, repository, tag string, n node) bool {
	t.Helper()
	_, headers := r.head(t, repository, "manifests/"+tag, n.desc.MediaType)
	return headers.Get("Docker-Content-Digest") == n.desc.Digest.String()
}

// TestCopyAttached: copy --referrers carries what cosign 2 has attached by tags, with their digests, between registries and
// through a layout and an archive: of the root, of members and of a platform. It lists the tags of each repository once, and
// asks for what it finds there, once.
func TestCopyAttached(t *testing.T) {
	bundle := newDeepApp(t)
	src := publish(t, bundle)
	attached := attachAll(t, src.registry, "org/app", bundle)
	for name, through := range map[string]string{"registry": "", "layout": "oci-layout:", "archive": "oci-archive:"} {
		t.Run(name, func(t *testing.T) {
			dst := copyTo(t, true, "prod/shop", bundle)
			logins := maps.Clone(src.logins)
			maps.Copy(logins, dst.logins)
			client, from := newNestctl(t, dockerConfig(t, logins, nil)), src.ref
			src.requests()
			if through != "" {
				from = through + filepath.Join(t.TempDir(), "between")
				client.copy(t, "--referrers", src.ref, from)
			}
			client.copy(t, "--referrers", from, dst.ref)
			carried(t, dst.registry, "prod/shop", attached)
			checkAttachedRequests(t, src.requests(), bundle)
			dst.requests()
			client.copy(t, "--referrers", from, dst.ref)
			if sent := only(dst.requests(), func(r request) bool { return r.Method == http.MethodPut }); len(sent) > 0 {
				t.Errorf("the second time: %+v", sent)
			}
		})
	}
}

func checkAttachedRequests(t *testing.T, log []request, bundle node) {
	t.Helper()
	lists, tagged := map[string]int{}, map[string]int{}
	for _, r := range log {
		switch {
		case r.Status != http.StatusOK && r.Status != http.StatusNotFound: // a challenge
		case r.Kind == "tags":
			lists[r.Repository]++
		case r.Kind == "manifests" && strings.HasPrefix(r.Reference, "sha256-") && strings.Contains(r.Reference, "."):
			tagged[r.Repository+":"+r.Reference]++
		}
	}
	for _, repository := range repositories("org/app", bundle) {
		if lists[repository] != 1 {
			t.Errorf("%s: %d lists of tags", repository, lists[repository])
		}
	}
	for at, n := range tagged {
		if n != 1 {
			t.Errorf("%s: %d requests", at, n)
		}
	}
	if len(tagged) != 4 {
		t.Errorf("asked for %v", tagged)
	}
}

// TestGatherAttached: index create --copy --referrers does, too.
func TestGatherAttached(t *testing.T) {
	image := newImage(t, amd64, "web\n", baseLayer(t))
	src, logins := source(t, map[string]node{"library/nginx": image})
	sig, tag := newAttached(t, "signed"), attachedTo(image.desc.Digest, ".sig")
	src.pushNode(t, "library/nginx", tag, sig)
	g := gatherer(t, logins, "nginx")
	g.client.run(t, "index", "create", "--plain-http", "--copy", "--referrers", g.ref, src.ref("library/nginx", "v1"))
	carried(t, g.registry, "org/app", map[string]node{"/nginx:" + tag: sig})
}

// TestCopyAttachedElsewhereSigned: who has signed at the destination, too, keeps that; a signature more at the source comes,
// also one by another key of what was signed there.
func TestCopyAttachedElsewhereSigned(t *testing.T) {
	image := newImage(t, amd64, "web\n", baseLayer(t))
	bundle := newBundle(t, member{"web", image})
	tag := attachedTo(image.desc.Digest, ".sig")
	more, others := newAttached(t, "two", "one", "three"), newAttached(t, "one", "three")
	otherKey, moreKeys := newSignatures(t, "key two"), newSignatures(t, "key one", "key two")
	for name, c := range map[string]struct {
		from, there, want node
		fails             bool
	}{
		"more at the source":           {newAttached(t, "one", "two"), newAttached(t, "one"), newAttached(t, "one", "two"), false},
		"more at the destination":      {newAttached(t, "one", "two"), more, more, false},
		"others":                       {newAttached(t, "one", "two"), others, others, true},
		"more keys at the source":      {moreKeys, otherKey, moreKeys, false},
		"more keys at the destination": {otherKey, moreKeys, moreKeys, false},
		"another key":                  {newSignatures(t, "key one"), otherKey, otherKey, true},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := publish(t, bundle), copyTo(t, true, "prod/shop", bundle)
			src.pushNode(t, "org/app/web", tag, c.from)
			dst.pushNode(t, "prod/shop/web", tag, c.there)
			logins := maps.Clone(src.logins)
			maps.Copy(logins, dst.logins)
			client := newNestctl(t, dockerConfig(t, logins, nil))
			if c.fails {
				client.fails(t, 2, []string{tag, "other signatures"}, "copy", "--plain-http", "--referrers", src.ref, dst.ref)
			} else {
				client.copy(t, "--referrers", src.ref, dst.ref)
			}
			carried(t, dst.registry, "prod/shop", map[string]node{"/web:" + tag: c.want})
		})
	}
}

// TestCopyAttachedSince: an update brings what was attached since, and leaves out what is there.
func TestCopyAttachedSince(t *testing.T) {
	s, _, later, _ := newAirgapScene(t)
	db := later.members[1].node
	old, tag := newAttached(t, "old"), attachedTo(db.desc.Digest, ".sig")
	s.near.pushNode(t, "org/shop/db", tag, old)
	first, second := "oci-archive:"+filepath.Join(s.dir, "v1.tar"), "oci-archive:"+filepath.Join(s.dir, "v2.tar")
	copy := func(args ...string) {
		t.Helper()
		s.client.run(t, append([]string{"copy", "--plain-http", "--referrers"}, args...)...)
	}
	copy(s.near.host+"/org/shop:v1", first)
	copy("--all", first, s.far.host+"/prod")
	fresh := newAttached(t, "old", "new")
	s.near.pushNode(t, "org/shop/db", tag, fresh)
	rootTag, root := attachedTo(later.desc.Digest, ".sig"), newAttached(t, "root")
	s.near.pushNode(t, "org/shop", rootTag, root)
	copy("--since", first, s.near.host+"/org/shop:v2", second)
	copy("--all", second, s.far.host+"/prod")
	carried(t, s.far.registry, "prod/org/shop", map[string]node{"/db:" + tag: fresh, ":" + rootTag: root})
}
