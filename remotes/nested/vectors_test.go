package nested

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
)

// vector is one of the test vectors that any implementation can run.
type vector struct {
	Name       string
	Parent     string
	Descriptor json.RawMessage
	Result     struct {
		Repositories []string
		Error        string
	}
}

func TestVectorsOfTheSpecHold(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Annotation, Property string
		Vectors              []vector
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if file.Annotation != DefaultKeys.Annotations[0] || file.Property != DefaultKeys.Properties[0] {
		t.Errorf("the vectors are for %s and %s", file.Annotation, file.Property)
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, v.run)
	}
}

func (v vector) run(t *testing.T) {
	repositories, err := candidates(t, v.Parent, v.Descriptor)
	if v.Result.Error == "" {
		if err != nil || !slices.Equal(repositories, v.Result.Repositories) {
			t.Errorf("got %q, %v; want %q", repositories, err, v.Result.Repositories)
		}
		return
	}
	var invalid *InvalidError
	if !errors.As(err, &invalid) || invalid.Position != 0 {
		t.Fatalf("got %q, %v; want an InvalidError about manifests[0]", repositories, err)
	}
	if contradiction := errors.Is(err, errContradiction); contradiction != (v.Result.Error == "contradiction") {
		t.Errorf("want %s, got %v", v.Result.Error, err)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' && r != '…' }) {
		t.Errorf("error with raw characters: %q", err)
	}
}

// candidates returns where an entry of an index may be, in order.
func candidates(t testing.TB, parent string, entry json.RawMessage) ([]string, error) {
	t.Helper()
	root := clienttest.Repository(t, parent)
	cache := newLocations(root, NewRule(Keys{}, Limits{}))
	data := []byte(`{"schemaVersion":2,"manifests":[` + string(entry) + `]}`)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(data), Size: int64(len(data))}
	cache.start(desc, false)
	index, _ := cache.place(desc.Digest)
	if err := cache.learn(index, data, root); err != nil {
		return nil, err
	}
	var d ocispec.Descriptor
	if err := json.Unmarshal(entry, &d); err != nil {
		t.Fatal(err)
	}
	p, ok := cache.place(d.Digest)
	if !ok {
		t.Fatal("the entry has no place")
	}
	var names []string
	for _, r := range union(p.targets, p.fallbacks) {
		names = append(names, r.String())
	}
	return names, nil
}
