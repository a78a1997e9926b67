package nested

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

var fuzzParents = []string{"reg.test/parent", "[::1]:5000/org/app", "docker.io/library/p"}

func FuzzChild(f *testing.F) {
	for _, s := range []string{"web", "a/b", "a---b", "a__b", "evil.test/x", "..", "x/", "X", "a%2fb", "x\n", "a:b", strings.Repeat("a", 256)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		child, err := ParseChild(s)
		if err != nil {
			if child != (Child{}) {
				t.Errorf("an error and the child %q", child)
			}
			return
		}
		if child.String() != s {
			t.Errorf("ParseChild(%q) prints as %q", s, child)
		}
		for _, p := range fuzzParents {
			checkTarget(t, p, child)
		}
	})
}

func checkTarget(t *testing.T, p string, child Child) {
	t.Helper()
	parent := clienttest.Repository(t, p)
	target, err := child.In(parent)
	if err != nil {
		if len(p)+1+len(child.String()) <= 255 {
			t.Errorf("%s in %s: %v", child, p, err)
		}
		return
	}
	name := target.Name()
	if target.Host() != parent.Host() || !strings.HasPrefix(name, parent.Name()+"/") || path.Clean(name) != name || strings.Contains(name, "%") {
		t.Errorf("%s in %s is %s", child, p, target)
	}
	if again := clienttest.Repository(t, target.String()); again != target {
		t.Errorf("%s reads back as %s", target, again)
	}
}

func FuzzReference(f *testing.F) {
	f.Add("reg.test/parent", "child")
	f.Add("[::1]:5000/p", "a/b")
	f.Add("127.0.0.1:5000/p/q", "evil.test/x")
	f.Add("docker.io/library/p", "0")
	f.Fuzz(func(t *testing.T, parent, s string) {
		in, err := auth.ParseRepository(parent)
		if err != nil {
			return
		}
		child, err := ParseChild(s)
		if err != nil {
			return
		}
		target, err := child.In(in)
		if err != nil {
			return
		}
		got, err := oci.RepositoryOf(byDigest(target, digest.FromString(s)))
		if err != nil || got != target {
			t.Errorf("a reference into %s is one into %s, %v", target, got, err)
		}
		if tagged, err := oci.RepositoryOf(target.String() + ":v1"); err != nil || tagged != target {
			t.Errorf("a tag of %s is one of %s, %v", target, tagged, err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	const d = `"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":600`
	for _, s := range []string{
		`{}`, `[]`, `null`, `{"manifests":null}`, `{"manifests":[null]}`, "\xef\xbb\xbf{}", `{} {}`,
		`{"manifests":[{` + d + `,"annotations":{"` + Annotation + `":"web"}}]}`,
		`{"manifests":[{` + d + `,"annotations":{"` + Annotation + `":"../x"}}]}`,
		`{"manifests":[{` + d + `,"namespace":"web"}]}`,
		`{"Manifests":[{` + d + `,"nameſpace":"web"}]}`,
		`{"manifests":[{` + d + `,"size":1e400,"namespace":"web"}]}`,
		`{"config":{` + d + `},"layers":[{` + d + `}]}`,
		`{"config":{` + d + `},"layers":[{` + d + `,"size":1},{` + d + `,"size":2},{` + d + `,"size":3},{` + d + `,"size":4}]}`,
		strings.Repeat("[", 200) + strings.Repeat("]", 200),
		"{\"manifests\":[{" + d + ",\"namespace\":\"web\",\"annotations\":{\"a\":\"\xff\"}}]}",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, index bool) {
		mediaType := ocispec.MediaTypeImageManifest
		if index {
			mediaType = ocispec.MediaTypeImageIndex
		}
		r := NewRule(Keys{}, Limits{})
		doc, err := r.read(mediaType, data, false)
		if err != nil && !doc.nested {
			t.Errorf("a document without child namespaces is refused: %v", err)
		}
		strict, strictErr := r.read(mediaType, data, true)
		if strictErr == nil && (err != nil || len(strict.entries) != len(doc.entries)) {
			t.Errorf("read strictly it has %d entries, else %d, %v", len(strict.entries), len(doc.entries), err)
		}
		checkPlaces(t, r, mediaType, data)
	})
}

// checkPlaces follows a manifest or index: what it points to is at the parent or below.
func checkPlaces(t *testing.T, r Rule, mediaType string, data []byte) {
	t.Helper()
	parent := clienttest.Repository(t, "reg.test/parent")
	cache := newLocations(parent, r)
	root := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	cache.start(root, false)
	p, _ := cache.place(root.Digest)
	if cache.learn(p, bytes.Clone(data), parent) != nil {
		return
	}
	for d, places := range cache.places {
		p := places[0]
		if len(places) > maxVersions {
			t.Errorf("%q has %d places, of one document", d, len(places))
		}
		if len(p.targets) == 0 || len(p.targets)+len(p.fallbacks) > 2*maxCandidates {
			t.Errorf("%q has %d candidates", d, len(p.targets))
		}
		for _, candidate := range union(p.targets, p.fallbacks) {
			if candidate != parent && !strings.HasPrefix(candidate.String(), parent.String()+"/") {
				t.Errorf("%q is looked for in %s", d, candidate)
			}
		}
	}
	// What is unambiguous means the same when it is written anew.
	var again bytes.Buffer
	if json.Compact(&again, data) == nil {
		if _, err := r.read(mediaType, again.Bytes(), false); err != nil {
			t.Errorf("compacted it is refused: %v", err)
		}
	}
}
