package reference_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/reference"
)

// schemas are those of docs/reference/schemas. That commands print what these say is shown by
// integration's TestOutputFitsSchemas.
var schemas = []reference.SchemaOf{
	{Name: "pull", Title: "nestctl pull --format json", Dir: "cmd/nestctl", Type: "result"},
	{Name: "tree", Title: "nestctl tree --format json", Dir: "internal/tree", Type: "branch"},
	{Name: "check", Title: "nestctl check --format json", Dir: "internal/check", Type: "Report"},
	{Name: "resolve", Title: "nestctl resolve --format json", Dir: "internal/pin", Type: "listed", List: true},
	{Name: "lock", Title: "a lock, as nestctl resolve --format lock writes it", Dir: "remotes/bundle/lock", Type: "Lock"},
	{Name: "copy", Title: "nestctl copy --format json: an object, or a list for several sources", Dir: "cmd/nestctl", Type: "copied", Both: true},
	{Name: "copy-dry-run", Title: "nestctl copy --dry-run --format json", Dir: "cmd/nestctl", Type: "planned", List: true},
	{Name: "index", Title: "nestctl index create, add and remove with --format json", Dir: "cmd/nestctl", Type: "created"},
	{Name: "prune", Title: "nestctl prune --format json", Dir: "remotes/bundle/prune", Type: "Plan"},
	{Name: "version", Title: "nestctl version --format json", Dir: "internal/commandline", Type: "build"},
	{Name: "config", Title: "config.toml", Dir: "config", Type: "Config", TOML: true},
}

// TestSchemas keeps the schemas equal to the types of the code.
func TestSchemas(t *testing.T) {
	for _, of := range schemas {
		s, err := of.Make(root)
		if err != nil {
			t.Error(err)
			continue
		}
		text, err := s.Text()
		if err != nil {
			t.Fatal(err)
		}
		if err := reference.Compare(filepath.Join(root, "docs", "reference", "schemas", of.Name+".json"), text, "make docs", *update); err != nil {
			t.Error(err)
		}
	}
}

// TestSchemaOf: what becomes of types, tags and comments of Go.
func TestSchemaOf(t *testing.T) {
	dir := write(t, "a.go", "package a\n"+`
// Node is a node
// of a tree.
type Node struct {
	Name     Kind            `+"`json:\"name\"`"+` // what it is called
	Digest   digest.Digest   `+"`json:\"digest,omitempty\"`"+`
	Children []*Node         `+"`json:\"children\" toml:\"below\"`"+`
	Sizes    map[string]int64 `+"`json:\"sizes,omitzero\"`"+`
	Inner
	hidden   func()
	Skipped  string          `+"`json:\"-\"`"+`
}

type Inner struct { Deep bool `+"`json:\"deep\"`"+` }

type Kind string

const (
	A Kind = "a"
	B Kind = "b"
)
`)
	s, err := reference.SchemaOf{Name: "n", Title: "T", Dir: ".", Type: "Node"}.Make(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(text), "")
	for _, want := range []string{
		`"$ref":"#/$defs/Node"`, `"required":["name","children","deep"]`,
		`"Kind":{"enum":["a","b"],"type":"string"}`, `"children":{"items":{"$ref":"#/$defs/Node"},"type":"array"}`,
		`"name":{"$ref":"#/$defs/Kind","description":"whatitiscalled"}`, `"sizes":{"additionalProperties":{"type":"integer"},"type":"object"}`,
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(flat, "Skipped") || strings.Contains(flat, "hidden") {
		t.Error(text)
	}
	for name, of := range map[string]reference.SchemaOf{
		"a list": {Type: "Node", List: true}, "one or a list": {Type: "Node", Both: true}, "TOML": {Type: "Node", TOML: true},
	} {
		of.Dir = "."
		s, err := of.Make(dir)
		text, _ := s.Text()
		want := map[string]string{"a list": `"type": "array"`, "one or a list": `"anyOf"`, "TOML": `"additionalProperties": false`}[name]
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v: %s", name, err, text)
		}
	}
	if _, err := (reference.SchemaOf{Dir: ".", Type: "None"}).Make(dir); err == nil {
		t.Error("no such type")
	}
	unknown := write(t, "b.go", "package b\n\ntype T struct { F other.Type `json:\"f\"` }\n")
	if _, err := (reference.SchemaOf{Dir: ".", Type: "T"}).Make(unknown); err == nil {
		t.Error("a type of another package")
	}
}
