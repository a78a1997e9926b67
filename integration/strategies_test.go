package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// strategies are values of nestctl index create --strategy but for auto.
var strategies = []string{"reference", "carrier", "anchor"}

// supportPath is where a registry would say that it supports child namespaces; it is the kind of a request there.
const supportPath = "/v2/_nestedoci/child-namespaces"

// strategyTaken is what the table says of a strategy that a registry takes.
const strategyTaken = "yes"

// strategyRow is a registry, and what it makes of each strategy.
type strategyRow struct {
	name    string
	title   string // in the table, with its version for VERSION
	options registryOptions
	answers map[string]string // by strategy
}

// strategyRows are what to expect.
var strategyRows = []strategyRow{
	{"distribution", "distribution VERSION", registryOptions{strict: true}, map[string]string{
		"reference": "refused: 400 MANIFEST_BLOB_UNKNOWN",
		"carrier":   strategyTaken,
		"anchor":    strategyTaken,
	}},
	{"distribution-lenient", "distribution VERSION, `platforms: none`", registryOptions{}, map[string]string{
		"reference": strategyTaken,
		"carrier":   strategyTaken,
		"anchor":    strategyTaken,
	}},
	{"docker-registry", "docker-registry VERSION of Debian", registryOptions{kind: dockerRegistry}, map[string]string{
		"reference": "refused: 400 MANIFEST_BLOB_UNKNOWN",
		"carrier":   strategyTaken,
		"anchor":    strategyTaken,
	}},
	{"go-containerregistry", "go-containerregistry VERSION", registryOptions{kind: goContainerRegistry}, map[string]string{
		"reference": "refused: 404 MANIFEST_UNKNOWN",
		"carrier":   strategyTaken,
		"anchor":    strategyTaken,
	}},
}

// start starts the row's registry, over plain HTTP and for everybody.
func (r strategyRow) start(t *testing.T) *registry {
	t.Helper()
	o := r.options
	o.serve = (*httptest.Server).Start
	return o.start(t, nil)
}

// TestStrategies: what registries make of an index whose members are in other repositories. What they take pulls whole
// and has one digest everywhere. The documents' table is what came out.
func TestStrategies(t *testing.T) {
	bundle := newBundle(t,
		member{"web", newIndex(t, newImage(t, amd64, "web\n", baseLayer(t)), newImage(t, arm64, "web\n", baseLayer(t)))},
		member{"worker", newImage(t, amd64, "worker\n", baseLayer(t))},
		member{"rpm", newArtifact(t, "application/vnd.test.rpm", randomBlob("application/x-rpm", 1<<16))})
	digests := map[digest.Digest]bool{}
	var measured []strategyRow
	for _, row := range strategyRows {
		t.Run(row.name, func(t *testing.T) {
			reg := row.start(t)
			got := row
			got.title = strings.ReplaceAll(row.title, "VERSION", row.options.kind.version(t))
			got.answers = map[string]string{}
			for _, strategy := range strategies {
				answer, made := tryStrategy(t, reg, strategy, bundle)
				if got.answers[strategy] = answer; answer != row.answers[strategy] {
					t.Errorf("%s: %s, want %s", strategy, answer, row.answers[strategy])
				}
				if made != "" {
					digests[made] = true
				}
			}
			measured = append(measured, got)
			checkAuto(t, reg, bundle)
		})
	}
	if len(digests) != 1 {
		t.Errorf("the index has %d digests: %v", len(digests), digests)
	}
	t.Run("table", func(t *testing.T) {
		if len(measured) < len(strategyRows) {
			t.Skip("needs every registry of the table")
		}
		checkTable(t, "../docs/registries.md", markdownTable(measured))
	})
}

// createIndex publishes a bundle's members below org/STRATEGY, where no other strategy has left
// anything, and makes their index there.
func createIndex(t *testing.T, reg *registry, strategy string, bundle node) outcome {
	t.Helper()
	parent := "org/" + strategy
	args := []string{"index", "create", "--plain-http", "--format", "json", "--strategy", strategy, reg.ref(parent, "v1")}
	for _, m := range bundle.members {
		reg.pushNode(t, parent+"/"+m.namespace, "v1", m.node)
		args = append(args, reg.ref(parent+"/"+m.namespace, "v1"))
	}
	return newNestctl(t, dockerConfig(t, nil, nil)).try(t, args...)
}

// tryStrategy returns the table's answer and, of an index that was taken, the digest.
func tryStrategy(t *testing.T, reg *registry, strategy string, bundle node) (string, digest.Digest) {
	t.Helper()
	reg.requests()
	made := createIndex(t, reg, strategy, bundle)
	refusals := only(reg.requests(), func(r request) bool {
		return r.Method == http.MethodPut && r.Repository == "org/"+strategy && r.Status >= http.StatusBadRequest
	})
	if made.code == exitFailure && len(refusals) == 1 {
		return fmt.Sprintf("refused: %d %s", refusals[0].Status, refusals[0].Code), ""
	}
	if made.code != exitOK || len(refusals) > 0 {
		t.Fatalf("%s: exit code %d after refusals %+v\n%s%s", strategy, made.code, refusals, made.stdout, made.stderr)
	}
	var index struct{ Digest digest.Digest }
	must(t, json.Unmarshal([]byte(made.stdout), &index))
	for _, reference := range []string{"v1", index.Digest.String()} {
		layout := filepath.Join(t.TempDir(), "layout")
		newNestctl(t, dockerConfig(t, nil, nil)).run(t, "pull", "--plain-http", "--all-platforms", "--to", "oci-layout:"+layout, reg.ref("org/"+strategy, reference))
		checkBlobs(t, layout)
		checkHas(t, layout, append(digestsOf(bundle)[1:], index.Digest)...)
	}
	return strategyTaken, index.Digest
}

// checkAuto checks that auto makes a carrier, as the registry does not say that it supports child namespaces, whatever
// else it takes. It is asked once.
func checkAuto(t *testing.T, reg *registry, bundle node) {
	t.Helper()
	reg.requests()
	got := createIndex(t, reg, "auto", bundle)
	if got.code != exitOK {
		t.Fatalf("auto: exit code %d\n%s", got.code, got.stderr)
	}
	var made struct{ Strategy string }
	must(t, json.Unmarshal([]byte(got.stdout), &made))
	if made.Strategy != "carrier" {
		t.Errorf("auto made it as %q, not as carrier", made.Strategy)
	}
	if asked := only(reg.requests(), func(r request) bool { return r.Kind == supportPath }); len(asked) != 1 {
		t.Errorf("asked %+v", asked)
	}
}

// digestsOf are those of all that belongs to a node, its own first.
func digestsOf(n node) []digest.Digest {
	all := []digest.Digest{n.desc.Digest}
	for _, blob := range n.blobs {
		all = append(all, blob.desc.Digest)
	}
	for _, inner := range n.nodes {
		all = append(all, digestsOf(inner)...)
	}
	for _, m := range n.members {
		all = append(all, digestsOf(m.node)...)
	}
	return all
}

// checkHas checks that all these are among the layout's blobs.
func checkHas(t *testing.T, layout string, digests ...digest.Digest) {
	t.Helper()
	for _, d := range digests {
		if _, err := os.Stat(blobPath(layout, d)); err != nil {
			t.Errorf("the layout is incomplete: %v", err)
		}
	}
}

// markdownTable is what the documents say of registries, without the markers.
func markdownTable(rows []strategyRow) string {
	var table strings.Builder
	fmt.Fprintf(&table, "| registry | %s |\n|---%s|\n", strings.Join(strategies, " | "), strings.Repeat("|---", len(strategies)))
	for _, row := range rows {
		fmt.Fprintf(&table, "| %s |", row.title)
		for _, strategy := range strategies {
			fmt.Fprintf(&table, " %s |", row.answers[strategy])
		}
		table.WriteString("\n")
	}
	return table.String()
}

const (
	tableBegin = "<!-- table: begin -->\n"
	tableEnd   = "<!-- table: end -->\n"
)

// checkTable compares what a document has between the markers, and with UPDATE=1 writes it there.
func checkTable(t *testing.T, document, table string) {
	t.Helper()
	data, err := os.ReadFile(document)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	must(t, err)
	before, rest, begins := strings.Cut(string(data), tableBegin)
	has, after, ends := strings.Cut(rest, tableEnd)
	switch {
	case !begins || !ends:
		t.Errorf("%s has no table between %q and %q", document, tableBegin, tableEnd)
	case has != table && os.Getenv("UPDATE") == "1":
		must(t, os.WriteFile(document, []byte(before+tableBegin+table+tableEnd+after), 0o644))
	case has != table:
		t.Errorf("%s: run the test with UPDATE=1; the table has\n%s\nand should have\n%s", document, has, table)
	}
}
