package nested_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// replace changes a manifest or index as text.
func replace(old, with string) func([]byte) []byte {
	return func(body []byte) []byte {
		changed := bytes.Replace(body, []byte(old), []byte(with), 1)
		if bytes.Equal(changed, body) {
			panic("nothing to change: " + old)
		}
		return changed
	}
}

const (
	annotationKey = `"` + nested.Annotation + `":`
	schema        = `"schemaVersion":2`
)

// ambiguities are changes to a nested index that make it invalid.
var ambiguities = map[string]func([]byte) []byte{
	"manifests twice":                replace(schema, schema+`,"manifests":[]`),
	"manifests twice, escaped":       replace(schema, schema+`,"\u006danifests":[]`),
	"manifests in another case":      replace(`"manifests"`, `"Manifests"`),
	"manifests with a long s":        replace(`"manifests"`, `"manife`+"\u017f"+`ts"`),
	"a key with a Kelvin sign":       replace(schema, schema+`,"x":{"`+"\u212a"+`":1,"k":2}`),
	"digest twice":                   replace(`"digest"`, `"digest":"sha256:`+strings.Repeat("0", 64)+`","digest"`),
	"digest in two cases":            replace(`"digest"`, `"Digest":"sha256:`+strings.Repeat("0", 64)+`","digest"`),
	"size in another case":           replace(`"size"`, `"SIZE"`),
	"annotations twice":              replace(`"annotations"`, `"annotations":{},"annotations"`),
	"annotations in another case":    replace(`"annotations"`, `"Annotations"`),
	"namespace twice":                replace(annotationKey, annotationKey+`"other",`+annotationKey),
	"namespace in another case":      replace(annotationKey, strings.ToUpper(annotationKey)),
	"namespace with a long s":        replace(nested.Annotation, strings.Replace(nested.Annotation, "s", "\u017f", 1)),
	"a property in another case":     replace(`"digest"`, `"Namespace":"web","digest"`),
	"an unknown key twice":           replace(schema, schema+`,"x":1,"x":2`),
	"nested too deeply":              replace(schema, schema+`,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)),
	"nested too deeply, in front":    replace(`{`, `{"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+","),
	"invalid UTF-8":                  replace(schema, schema+",\"x\":\"\xff\""),
	"of another media type":          replace(ocispec.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json"),
	"a media type that beeps":        replace(`"mediaType":"`+ocispec.MediaTypeImageManifest, `"mediaType":"application/x\u0007`),
	"a media type beyond ASCII":      replace(`"mediaType":"`+ocispec.MediaTypeImageManifest, `"mediaType":"application/x\u00e9`),
	"an index with config":           replace(schema, schema+`,"config":{}`),
	"an index with layers":           replace(schema, schema+`,"layers":[]`),
	"digest is md5":                  replace(`"digest":"sha256:`, `"digest":"md5:`),
	"digest in upper case":           replace(`"digest":"sha256:`, `"digest":"sha256:ABC`),
	"digest is a path":               replace(`"digest":"sha256:`, `"digest":"sha256:../../`),
	"digest is long":                 replace(`"digest":"sha256:`, `"digest":"sha256:`+strings.Repeat("a", 1<<20)),
	"digest of 63 digits":            replace(`"digest":"sha256:`, `"digest":"sha256:`+strings.Repeat("a", 63)+`","x":"`),
	"digest of 65 digits":            replace(`"digest":"sha256:`, `"digest":"sha256:a`),
	"digest without digits":          replace(`"digest":"sha256:`, `"digest":"sha256:","x":"`),
	"digest is empty":                replace(`"digest":"sha256:`, `"digest":"","x":"`),
	"size is negative":               replace(`"size":`, `"size":-`),
	"size is zero":                   replace(`"size":`, `"size":0,"x":`),
	"size is the largest number":     replace(`"size":`, `"size":9223372036854775807,"x":`),
	"size is no integer":             replace(`"size":`, `"size":1e400,"x":`),
	"size is more than a document's": replace(`"size":`, `"size":4194305,"x":`),
	"a number too large":             replace(`"size":`, `"x":1e400,"size":`),
	"namespace is a number":          replace(annotationKey, annotationKey+`7,"x":`),
	"data of another digest":         replace(`"digest"`, `"data":"e30=","digest"`),
	"a manifest in the list is null": replace(`"manifests":[`, `"manifests":[null,`),
	"manifests is no list":           replace(`"manifests":[`, `"x":{"manifests":1},"manifests":[7,`),
	"an annotation is no text":       replace(annotationKey, `"x":{},`+annotationKey),
}

// TestAmbiguousNestedIndexes: nothing is asked for because of an index with
// child namespaces that can be read in more than one way.
func TestAmbiguousNestedIndexes(t *testing.T) {
	for name, change := range ambiguities {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			member := clienttest.PutImage(s.registry, parent+"/web", "layer")
			started := time.Now()
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, change(clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))))
			var invalid *nested.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("got %.300v, want an InvalidError", err)
			}
			wantInvalid(t, err, invalid.Position)
			if n := len(err.Error()); n > 500 {
				t.Errorf("an error of %d bytes", n)
			}
			if d := time.Since(started); d > 5*time.Second {
				t.Errorf("it took %s", d)
			}
			s.want(clienttest.TagGet(parent))
		})
	}
}

// TestNotJSON: these do not state anything, for containerd neither.
func TestNotJSON(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"byte order mark": replace(`{`, "\xef\xbb\xbf{"),
		"trailing bytes":  func(b []byte) []byte { return append(b, '}') },
		"a second value":  func(b []byte) []byte { return append(b, " {}"...) },
		"NaN":             replace(schema, `"schemaVersion":NaN`),
		"10,000 arrays":   replace(schema, `"x":`+strings.Repeat("[", 10_001)+strings.Repeat("]", 10_001)),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			member := clienttest.PutImage(s.registry, parent+"/web", "layer")
			clienttest.WantError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, change(clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))))
			s.want(clienttest.TagGet(parent))
		})
	}
}

// TestMembersAreReadStrictly: what is reached through child namespaces is
// held to the same rules. Content is not asked for because of it.
func TestMembersAreReadStrictly(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"layers twice":                   replace(schema, schema+`,"layers":[]`),
		"config in another case":         replace(`"config"`, `"Config"`),
		"a manifest with manifests":      replace(schema, schema+`,"manifests":[]`),
		"of another media type":          replace(ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex),
		"digest of a layer is a path":    replace(`"layers":[{"mediaType":"`+ocispec.MediaTypeImageLayer+`","digest":"sha256:`, `"layers":[{"mediaType":"`+ocispec.MediaTypeImageLayer+`","digest":"sha256:../../`),
		"size of the config is negative": replace(`"size":`, `"size":-`),
		"byte order mark":                replace(`{`, "\xef\xbb\xbf{"),
		"trailing bytes":                 func(b []byte) []byte { return append(b, '}') },
		"not an object":                  func([]byte) []byte { return []byte(`[]`) },
		"nested too deeply":              replace(schema, schema+`,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			i := clienttest.PutImage(s.registry, parent+"/web", "layer")
			member := s.registry.Put(parent+"/web", i.MediaType, change(i.Bytes[i.Digest]))
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member, "web"))))
			invalid := wantInvalid(t, err, -1)
			if invalid.Digest != member.Digest || invalid.In.String() != s.registry.Host()+"/"+parent+"/web" {
				t.Errorf("the error is about %s in %s", invalid.Digest, invalid.In)
			}
			s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 200, member))
			if clienttest.Stored(s.store, member) {
				t.Error("the member is stored")
			}
		})
	}
}
