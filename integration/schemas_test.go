package integration

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/pelletier/go-toml/v2"
)

// schemaOf reads a schema of docs/reference/schemas. Closed, it allows only what it names, so that all that a command
// prints has to be in it.
func schemaOf(t *testing.T, name string) *jsonschema.Resolved {
	t.Helper()
	text, err := os.ReadFile("../docs/reference/schemas/" + name + ".json")
	must(t, err)
	var s jsonschema.Schema
	must(t, json.Unmarshal(text, &s))
	for _, d := range s.Defs {
		if d.Properties != nil {
			d.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
		}
	}
	resolved, err := s.Resolve(nil)
	must(t, err)
	return resolved
}

// TestOutputFitsSchemas: what the commands print as JSON, a lock and the configuration are as their schemas say.
func TestOutputFitsSchemas(t *testing.T) {
	s := newPruneScene(t, registryOptions{})
	ref, dir := s.ref("org/app", "v1.11.0"), t.TempDir()
	for _, test := range []struct {
		schema, args string
		code         int
	}{
		{"pull", "pull -q --format json --all-platforms --to oci-layout:DIR/pulled REF", 0},
		{"tree", "tree --format json REF", 0},
		{"check", "check --format json REF", 0},
		{"resolve", "resolve --format json REF", 0},
		{"lock", "resolve --format lock REF", 0},
		{"copy-dry-run", "copy --dry-run --format json REF HOST/new/app:v1", 0},
		{"copy", "copy -q --format json REF HOST/other/app:v1", 0},
		{"copy", "copy -q --format json REF oci-archive:DIR/one.tar", 0},
		{"copy", "copy -q --format json REF HOST/other/app:v1 oci-archive:DIR/several.tar", 0},
		{"index", "index remove --format json HOST/other/app:v1 web", 0},
		{"prune", "prune --format json --keep 1 HOST/org/app", 0},
		{"prune", "prune --format json --keep 1 --dry-run=false HOST/org/app", 0},
		{"version", "version --format json", 0},
		{"check", "check --format json HOST/org/app:v1.9.0", 4}, // which prune has deleted
	} {
		args := strings.Fields(strings.NewReplacer("DIR", dir, "REF", ref, "HOST", s.host).Replace(test.args))
		if test.schema != "version" {
			args = append(args, "--plain-http")
		}
		got := s.client.try(t, args...)
		if got.code != test.code {
			t.Errorf("%s: exit status %d, want %d: %s", test.args, got.code, test.code, got.stderr)
			continue
		}
		fits(t, test.schema, test.args, got.stdout)
	}
	fits(t, "version", "version", s.client.run(t, "version", "--format", "json").stdout)
	var config any
	must(t, toml.Unmarshal([]byte(s.client.run(t, "config", "default").stdout), &config))
	text, err := json.Marshal(config)
	must(t, err)
	fits(t, "config", "config default", string(text))
}

func fits(t *testing.T, schema, what, text string) {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Errorf("%s: %v: %s", what, err, text)
		return
	}
	if err := schemaOf(t, schema).Validate(value); err != nil {
		t.Errorf("%s: %v\n%s", what, err, text)
	}
}

// TestSchemasRefuse: a schema that fits everything would show nothing.
func TestSchemasRefuse(t *testing.T) {
	for name, text := range map[string]string{
		"tree":    `{"repository": "a/b", "digest": "sha256:ff", "mediaType": "x"}`,
		"resolve": `[{"namespace": "web", "repository": "a/b/web", "digest": 5, "ref": "x"}]`,
		"copy":    `[{"ref": "x"}]`,
		"prune":   `{"parent": "a", "kept": [], "removed": [], "deletions": [{"repository": "a", "digest": "sha256:ff", "kind": "tag", "state": "done"}]}`,
		"config":  `{"gateway": {"mod": "node"}}`,
	} {
		var value any
		must(t, json.Unmarshal([]byte(text), &value))
		if schemaOf(t, name).Validate(value) == nil {
			t.Errorf("%s fits %s", text, name)
		}
	}
}
