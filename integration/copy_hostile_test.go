package integration

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestCopySameDigest: what is a manifest of an index and a layer of another manifest is put as both.
func TestCopySameDigest(t *testing.T) {
	both := newArtifact(t, "application/vnd.test", randomBlob("application/x-test", 1000))
	asLayer := both.content
	asLayer.desc.MediaType = "application/x-test"
	holder := newArtifact(t, "application/vnd.test.holder", asLayer)
	src := publishAt(t, startRegistry(t, nil), newBundle(t, member{"web", newIndex(t, both, holder)}))
	dst := startRegistry(t, nil)
	newNestctl(t, dockerConfig(t, nil, nil)).copy(t, src.ref, dst.ref("prod/shop", "v1"))
	for _, path := range []string{"manifests/", "blobs/"} {
		if !dst.holds(t, "prod/shop/web", path+both.desc.Digest.String()) {
			t.Errorf("it is not among %s", path)
		}
	}
}

// TestCopyReferrerCycle: a referrer that points back to what it refers to, and a list of referrers that names its own
// subject, end.
func TestCopyReferrerCycle(t *testing.T) {
	image := newImage(t, amd64, "image\n", baseLayer(t))
	src := publishAt(t, startRegistry(t, nil), image)
	back := newDocument(t, ocispec.MediaTypeImageIndex, map[string]any{
		"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "artifactType": "application/vnd.test",
		"manifests": []ocispec.Descriptor{image.desc}, "subject": image.desc,
	})
	src.pushManifest(t, "org/app", "", back)
	src.pushManifest(t, "org/app", strings.Replace(image.desc.Digest.String(), ":", "-", 1), indexOf(t, back.desc, image.desc).content)
	dst := startRegistry(t, nil)
	newNestctl(t, dockerConfig(t, nil, nil)).copy(t, "--referrers", src.ref, dst.ref("prod/shop", "v1"))
	if !dst.holds(t, "prod/shop", "manifests/"+back.desc.Digest.String()) {
		t.Error("the referrer is not there")
	}
	list := dst.get(t, "/v2/prod/shop/manifests/"+strings.Replace(image.desc.Digest.String(), ":", "-", 1), "")
	if text := string(list.body); !strings.Contains(text, back.desc.Digest.String()) || strings.Contains(text, image.desc.Digest.String()) {
		t.Errorf("the list is %s", text)
	}
}

// TestCopyLayoutName: a layout says where it came from; that is nothing to mount from.
func TestCopyLayoutName(t *testing.T) {
	reg := startRegistry(t, nil)
	secret := newImage(t, amd64, "secret\n", baseLayer(t))
	reg.pushNode(t, "reg/secret", "v1", secret)
	client, layout := newNestctl(t, dockerConfig(t, nil, nil)), t.TempDir()
	client.copy(t, reg.ref("reg/secret", "v1"), "oci-layout:"+layout)
	for _, blob := range secret.blobs {
		must(t, os.Remove(blobPath(layout, blob.desc.Digest)))
	}
	reg.requests()
	client.fails(t, 4, []string{"not found"}, "copy", "--plain-http", "oci-layout:"+layout, reg.ref("reg/public", "v1"))
	for _, blob := range secret.blobs {
		if reg.holds(t, "reg/public", "blobs/"+blob.desc.Digest.String()) {
			t.Errorf("%s was mounted", blob.desc.Digest)
		}
	}
}

// TestCopyLayoutLink: what a layout links to is sent when it is what its name says.
func TestCopyLayoutLink(t *testing.T) {
	image := newImage(t, amd64, "image\n", baseLayer(t))
	src := publishAt(t, startRegistry(t, nil), image)
	client, layout, other := newNestctl(t, dockerConfig(t, nil, nil)), t.TempDir(), filepath.Join(t.TempDir(), "blob")
	client.copy(t, src.ref, "oci-layout:"+layout)
	blob := blobPath(layout, image.blobs[0].desc.Digest)
	must(t, os.Rename(blob, other))
	must(t, os.Symlink(other, blob))
	dst := startRegistry(t, nil)
	client.copy(t, "oci-layout:"+layout, dst.ref("linked", "v1"))
	writeFile(t, other, "something private")
	dst.requests()
	client.fails(t, 1, []string{"is a link to something else"}, "copy", "--plain-http", "oci-layout:"+layout, dst.ref("other", "v1"))
	for _, line := range dst.requests() {
		if line.Sent > 0 && line.Kind == "uploads" && line.Sent == int64(len("something private")) {
			t.Errorf("sent: %+v", line)
		}
	}
}

// TestCopyOwner: a member's manifest may name what only another member's repository has. That is not copied to the
// readers of the first.
func TestCopyOwner(t *testing.T) {
	secret := randomBlob("application/x-test", 1000)
	a := newArtifact(t, "application/vnd.test.a", secret)
	b := newArtifact(t, "application/vnd.test.b", secret, randomBlob("application/x-test", 10))
	bundle := newBundle(t, member{"a", a}, member{"b", b})
	reg := registryOptions{serve: (*httptest.Server).Start, deletes: true}.start(t, nil)
	src := publishAt(t, reg, bundle)
	reg.drop(t, "org/app/b", secret)
	client := newNestctl(t, dockerConfig(t, nil, nil))
	dst := startRegistry(t, nil)
	for _, to := range []string{dst.ref("prod/shop", "v1"), reg.ref("prod/shop", "v1")} {
		client.fails(t, 4, []string{"org/app/b@" + secret.desc.Digest.String()[:19]}, "copy", "--plain-http", src.ref, to)
	}
	for _, r := range []*registry{reg, dst} {
		if r.holds(t, "prod/shop/b", "blobs/"+secret.desc.Digest.String()) {
			t.Error("it was brought to the other member's readers")
		}
	}
}

// drop deletes a blob.
func (r *registry) drop(t testing.TB, repository string, blob content) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://registry/v2/"+repository+"/blobs/"+blob.desc.Digest.String(), http.NoBody)
	must(t, err)
	answer, err := r.direct.Do(req)
	must(t, err)
	must(t, answer.Body.Close())
	if answer.StatusCode != http.StatusAccepted {
		t.Fatal(answer.Status)
	}
}

// TestCopyMemberWithReferrers: of a part of a bundle everything is brought whole, the root's signature too, and nothing
// of other members.
func TestCopyMemberWithReferrers(t *testing.T) {
	bundle := newDeepApp(t)
	src := publishAt(t, startRegistry(t, nil), bundle)
	signature := newReferrer(t, bundle.desc, "application/vnd.test.signature", "signature")
	src.pushReferrer(t, "org/app", signature)
	dst, client := startRegistry(t, nil), newNestctl(t, dockerConfig(t, nil, nil))
	client.copy(t, "--referrers", "--member", "web", src.ref, dst.ref("prod/shop", "v1"))
	for _, blob := range signature.blobs {
		if !dst.holds(t, "prod/shop", "blobs/"+blob.desc.Digest.String()) {
			t.Errorf("of the signature %s is missing", blob.desc.Digest)
		}
	}
	if dst.holds(t, "prod/shop/rpm", "manifests/"+bundle.members[1].node.desc.Digest.String()) {
		t.Error("another member came along")
	}
	flat := client.copy(t, "--flatten", "--member", "web", src.ref, dst.ref("flat", "v1"))
	var index ocispec.Index
	must(t, json.Unmarshal(dst.get(t, "/v2/flat/manifests/"+flat.Digest, "").body, &index))
	if len(index.Manifests) != 1 {
		t.Errorf("the flat index has %+v", index.Manifests)
	}
}

// TestCopyCarrierReferrers: a signature of what the tag resolves to, a carrier, comes along.
func TestCopyCarrierReferrers(t *testing.T) {
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))})
	carrier := newCarrier(t, bundle)
	src := publishAt(t, registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, nil), carrier)
	signature := newReferrer(t, carrier.desc, "application/vnd.test.signature", "signature")
	src.pushReferrer(t, "org/app", signature)
	dst := registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, nil)
	newNestctl(t, dockerConfig(t, nil, nil)).copy(t, "--referrers", src.ref, dst.ref("prod/shop", "v1"))
	for _, c := range []content{carrier.content, signature.content} {
		if !dst.holds(t, "prod/shop", "manifests/"+c.desc.Digest.String()) {
			t.Errorf("%s is not there", c.desc.Digest)
		}
	}
	list := dst.get(t, "/v2/prod/shop/manifests/"+strings.Replace(carrier.desc.Digest.String(), ":", "-", 1), "")
	if !strings.Contains(string(list.body), signature.desc.Digest.String()) {
		t.Errorf("the list of the carrier's referrers is %d %s", list.status, list.body)
	}
}
