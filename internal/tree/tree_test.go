package tree

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// blobs is a source whose manifests have these blobs, and whose content is where it should be.
type blobs struct {
	bundle.Source
	of map[digest.Digest][]nested.Entry
}

func (s blobs) Children(_ context.Context, d ocispec.Descriptor) ([]nested.Entry, error) {
	return s.of[d.Digest], nil
}

func (blobs) Found(digest.Digest) (auth.Repository, bool) { return auth.Repository{}, false }

func entry(name, mediaType string, size int64) nested.Entry {
	return nested.Entry{Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(name), Size: size}}
}

func manifest(t *testing.T, name string, size int64) *bundle.Node {
	t.Helper()
	ref, err := auth.ParseReference("registry.example.com/org/app/" + name + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Node{Entry: entry(name, ocispec.MediaTypeImageManifest, size), Namespace: name, Repository: ref.Repository()}
}

func index(t *testing.T, name string, children ...*bundle.Node) *bundle.Node {
	t.Helper()
	n := manifest(t, name, 10)
	n.MediaType, n.Children = ocispec.MediaTypeImageIndex, children
	return n
}

func drawn(t *testing.T, format string, b *bundle.Bundle, root *bundle.Node) string {
	t.Helper()
	var out bytes.Buffer
	if err := Print(t.Context(), &out, format, b, &bundle.Walked{Root: root}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestSizes: what several parts share is counted once in each, and a node is drawn in full where it appears first.
func TestSizes(t *testing.T) {
	web, db := manifest(t, "web", 100), manifest(t, "db", 100)
	shared := index(t, "shared", db)
	root := index(t, "root", web, shared, shared)
	base := entry("base", ocispec.MediaTypeImageLayerGzip, 1000)
	b := &bundle.Bundle{Fetcher: blobs{of: map[digest.Digest][]nested.Entry{
		web.Digest: {base, base, entry("web.layer", ocispec.MediaTypeImageLayerGzip, 10)},
		db.Digest:  {base, entry("db.layer", ocispec.MediaTypeImageLayerGzip, 5)},
	}}}
	var got []string
	for line := range strings.Lines(drawn(t, "text", b, root)) {
		fields := strings.Fields(line)
		got = append(got, strings.Join(fields[len(fields)-2:], " "))
	}
	if want := "1.2 KiB, 1.1 KiB, 1.1 KiB, 1.1 KiB, 1.1 KiB"; strings.Join(got, ", ") != want {
		t.Errorf("sizes %s, want %s", got, want)
	}
	s, err := sizesOf(t.Context(), b, root)
	if err != nil || s.total[root] != 10+100+1000+10+10+100+5 || s.total[web] != 1110 || s.total[shared] != 10+100+1000+5 {
		t.Errorf("totals %v, %v", s.total, err)
	}
}

// TestSizesOfStrangers: sums do not overflow, negative sizes are not subtracted, and a graph of which everything points
// to everything does not take hours.
func TestSizesOfStrangers(t *testing.T) {
	for _, size := range []int64{math.MaxInt64, math.MinInt64, -1} {
		root := index(t, "root", manifest(t, "a", size), manifest(t, "b", size))
		if s, err := sizesOf(t.Context(), &bundle.Bundle{Fetcher: blobs{}}, root); err != nil || s.total[root] != math.MaxInt64 {
			t.Errorf("%d: %d, %v", size, s.total[root], err)
		}
	}
	var below []*bundle.Node
	for level := range 100 {
		var all []*bundle.Node
		for i := range 30 {
			all = append(all, index(t, fmt.Sprintf("x%d-%d", level, i), below...))
		}
		below = all
	}
	started := time.Now()
	text := drawn(t, "dot", &bundle.Bundle{Fetcher: blobs{}}, index(t, "root", below...))
	if took := time.Since(started); took > 20*time.Second || !strings.Contains(text, "not added up") {
		t.Errorf("drawn in %v", took)
	}
}

// hostile are names that mean something in one of the languages.
var hostile = []string{
	`"`, `\`, `\"`, `\N`, `\l`, `\\`, "a\nb", "a\r\nb\x00", `"];x[label="`, `"] --> evil["`, `]`, `)`, `}`, `|`, "`**bold**`", "**bold**", "_x_",
	"<script>alert(1)</script>", "<b>", "&lt;b&gt;", "&amp;", "&", "&#34;", "#quot;", "#35;", "#", ";", "%%{init: {'theme':'dark'}}%%", "%% comment",
	"style x:#fff;", "classDef y fill:#f9f;", `click n0 href "javascript:alert(1)"`, "end", "subgraph", "---", "--> n0", "n0 -> n1", "$$x^2$$", "fa:fa-car", "<br>",
	"漢字", "\u202eevil", registrytest.ForeignText, strings.Repeat("x", 1000),
}

var (
	dotLine     = regexp.MustCompile(`^  n\d+(?: -> n\d+)?(?: \[label="((?:[^"\\]|\\["\\n])*)"\])?;$`)
	mermaidLine = regexp.MustCompile(`^  n\d+(?:\["((?:[\p{L}\p{N} ./,…-]|#\d+;|<br>)*)"\]| -->(?:\|"((?:[\p{L}\p{N} ./,…-]|#\d+;)*)"\|)? n\d+)$`)
	entityCode  = regexp.MustCompile(`#(\d+);`)
)

// TestGraphsOfHostileNames: whatever an artifact type or a platform is, it is a label, and reads back as what it was.
func TestGraphsOfHostileNames(t *testing.T) {
	for _, name := range hostile {
		n := manifest(t, "web", 1)
		n.ArtifactType, n.Platform = name, &ocispec.Platform{OS: name, Architecture: "amd64"}
		root := index(t, "root", n)
		want := shown(name) + ", "
		for format, read := range map[string]func(*testing.T, string) string{"dot": readDOT, "mermaid": readMermaid} {
			text := drawn(t, format, &bundle.Bundle{Fetcher: blobs{}}, root)
			if label := read(t, text); !strings.Contains(label, "\n"+want) || strings.Count(label, "\n") != 2 {
				t.Errorf("%s of %q reads as %q:\n%s", format, name, label, text)
			}
			if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !sanitize.IsShown(r) }) {
				t.Errorf("%s of %q is %q", format, name, text)
			}
		}
	}
}

// readDOT reads the label of the last node of a graph of two nodes and an edge.
func readDOT(t *testing.T, text string) string {
	t.Helper()
	lines := strings.Split(text, "\n")
	if len(lines) != 8 || lines[0] != "digraph bundle {" || lines[6] != "}" {
		t.Fatalf("no graph:\n%s", text)
	}
	for _, line := range lines[3:6] {
		if !dotLine.MatchString(line) {
			t.Errorf("no statement: %s", line)
			return ""
		}
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n", "&amp;", "&").Replace(dotLine.FindStringSubmatch(lines[4])[1])
}

func readMermaid(t *testing.T, text string) string {
	t.Helper()
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[0] != "flowchart LR" {
		t.Fatalf("no flowchart:\n%s", text)
	}
	for _, line := range lines[1:4] {
		if !mermaidLine.MatchString(line) {
			t.Errorf("no statement: %s", line)
			return ""
		}
	}
	label := strings.ReplaceAll(mermaidLine.FindStringSubmatch(lines[2])[1], "<br>", "\n")
	return entityCode.ReplaceAllStringFunc(label, func(code string) string {
		r, _ := strconv.Atoi(entityCode.FindStringSubmatch(code)[1])
		return string(rune(r))
	})
}
