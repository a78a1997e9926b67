package nested_test

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestKeysStateChildNamespaces is about the names under which child namespaces are stated: what
// an entry of the index says beside its digest, and where its member is then.
func TestKeysStateChildNamespaces(t *testing.T) {
	other := nested.Keys{Annotations: []string{"org.example.child", nested.Annotation}, Properties: []string{"repository"}}
	for name, test := range map[string]struct {
		keys  nested.Keys
		says  string // in place of the entry's "digest"
		child string
	}{
		"property":                        {says: `"namespace":"web","digest"`, child: "/web"},
		"property and annotation":         {says: `"namespace":"web","annotations":{` + annotationKey + `"web"},"digest"`, child: "/web"},
		"property that is no namespace":   {says: `"namespace":"../web","digest"`},
		"property that is no text":        {says: `"namespace":["web"],"digest"`},
		"property that is null":           {says: `"namespace":null,"digest"`},
		"annotation that is null":         {says: `"annotations":{` + annotationKey + `null},"digest"`},
		"property inside an annotation":   {says: `"annotations":{"namespace":"web"},"digest"`},
		"annotation as a property":        {says: annotationKey + `"web","digest"`},
		"property of the platform":        {says: `"platform":{"os":"linux","architecture":"amd64","namespace":"web"},"digest"`},
		"configured annotation":           {keys: other, says: `"annotations":{"org.example.child":"web"},"digest"`, child: "/web"},
		"configured second annotation":    {keys: other, says: `"annotations":{` + annotationKey + `"web"},"digest"`, child: "/web"},
		"configured property":             {keys: other, says: `"repository":"web","digest"`, child: "/web"},
		"default property, not asked for": {keys: other, says: `"namespace":"web","digest"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{Keys: test.keys})
			member := clienttest.PutImage(s.registry, parent+test.child, "layer")
			clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, replace(`"digest"`, test.says)(clienttest.IndexOf(member.Descriptor)))))
			s.want(clienttest.TagGet(parent), member.All(parent+test.child))
		})
	}
}

func TestContradictions(t *testing.T) {
	two := nested.Keys{Annotations: []string{"org.example.child", nested.Annotation}}
	for name, test := range map[string]struct {
		keys nested.Keys
		says string
		want []string
	}{
		"annotation and property": {says: `"namespace":"b","annotations":{` + annotationKey + `"a"},"digest"`,
			want: []string{"annotation " + nested.Annotation + ` says "a"`, `property namespace says "b"`}},
		"two annotations": {keys: two, says: `"annotations":{"org.example.child":"b",` + annotationKey + `"a"},"digest"`,
			want: []string{"annotation " + nested.Annotation + ` says "a"`, `annotation org.example.child says "b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{Keys: test.keys})
			member := clienttest.PutImage(s.registry, parent+"/a", "layer")
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, replace(`"digest"`, test.says)(clienttest.IndexOf(member.Descriptor))))
			wantInvalid(t, err, 0)
			clienttest.WantError(t, err, test.want...)
			s.want(clienttest.TagGet(parent))
		})
	}
}

// TestDockerManifestList: child namespaces count in it as in an index.
func TestDockerManifestList(t *testing.T) {
	const list = "application/vnd.docker.distribution.manifest.list.v2+json"
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/web", "layer")
	body := replace(ocispec.MediaTypeImageIndex, list)(clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))
	clienttest.NoError(t, s.pull(s.put(list, body)))
	s.want(clienttest.TagGet(parent), member.All(parent+"/web"))
}
