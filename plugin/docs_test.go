package plugin

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/nestedoci/nested/config"
)

// TestDocs: docs/containerd.md lists the keys that there are.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/containerd.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	if keys := slices.Sorted(maps.Keys(config.DefaultPlugin().Table())); !slices.Equal(listed, keys) {
		t.Errorf("docs/containerd.md lists %q, the keys are %q", listed, keys)
	}
}
