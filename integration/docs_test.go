package integration

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docScript is what a section of a document of docs has to be done, as a script.
func docScript(t *testing.T, document, section string) string {
	t.Helper()
	_, text, found := strings.Cut(readText(t, filepath.Join("../docs", document)), "\n## "+section+"\n")
	if !found {
		t.Fatalf("%s has no section %q", document, section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	script := scriptOf(t, text)
	if script == "" {
		t.Fatalf("%s: nothing to be done", section)
	}
	return script
}

// shown are the fenced blocks that are there to be read: what is printed, and what is in a program.
var shown = []string{"console", "diff", "go", "json", "text"}

// scriptOf is what a text has to be done, as a script: its indented blocks, and the lines after `$ ` of transcripts, are
// commands; other fenced blocks, whose first lines are comments with names, are files.
func scriptOf(t *testing.T, text string) string {
	t.Helper()
	var script strings.Builder
	for fence, rest := "", text; rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		language, isFence := strings.CutPrefix(line, "```")
		switch command, isCommand := strings.CutPrefix(line, "$ "); {
		case fence == "" && isFence && slices.Contains(shown, language):
			fence = language
		case fence == "" && isFence:
			var name string
			name, rest, _ = strings.Cut(rest, "\n")
			name, isName := strings.CutPrefix(name, "# ")
			if !isName {
				t.Fatalf("a block begins with %q", name)
			}
			fence = "END"
			script.WriteString("cat >" + name + " <<'END'\n")
		case isFence && fence == "END":
			script.WriteString("END\n")
			fence = ""
		case isFence:
			fence = ""
		case fence == "END":
			script.WriteString(line + "\n")
		case fence == "console" && isCommand:
			script.WriteString(command + "\n")
		case fence == "" && strings.HasPrefix(line, "    "):
			script.WriteString(strings.TrimPrefix(line, "    ") + "\n")
		}
	}
	return script.String()
}

// part is what is below one heading of a document, whichever level it has, and before the first one below "".
type part struct{ heading, script string }

// partsOf are those parts of a document that have something to be done, in order.
func partsOf(t *testing.T, document string) []part {
	t.Helper()
	var parts []part
	heading, text, inFence := "", "", false
	add := func() {
		if script := scriptOf(t, text); script != "" {
			parts = append(parts, part{heading, script})
		}
	}
	for line := range strings.Lines(readText(t, filepath.Join("..", document))) {
		if strings.HasPrefix(line, "```") {
			inFence = !inFence
		}
		if !inFence && strings.HasPrefix(line, "##") {
			add()
			heading, text = strings.TrimSpace(strings.TrimLeft(line, "#")), ""
			continue
		}
		text += line
	}
	add()
	return parts
}

// Who runs the commands of a part: TestDocuments, on a machine without systemd or on one with it, or another test, which is
// named. What begins with "not run: " is the reason why nobody does.
const (
	onMachine = "TestDocuments"
	onNode    = "TestDocumentsOnNode"
	withFront = "TestDocumentsFront"
)

// documents are the pages whose commands are run as they stand there, by their parts.
var documents = map[string]map[string]string{
	"README.md": {
		"":                             onMachine,
		"Install":                      "not run: `make build` has built the nestctl that all tests here run",
		"A developer, with any client": onMachine,
		"A node with containerd":       onNode,
		"Kubernetes":                   onMachine,
		"A front before a registry":    withFront,
		"A publisher":                  onMachine,
		"Credentials":                  onMachine,
	},
	"docs/guides/copy.md":        {"": onMachine},
	"docs/guides/credentials.md": {"Log in": onMachine},
	"docs/guides/gateway.md":     {"": onNode},
	"docs/guides/gather.md":      {"": onMachine},
	"docs/guides/lock.md":        {"": onMachine},
	"docs/guides/pin.md":         {"Kubernetes manifests": onMachine, "Helm values": onMachine},
	"docs/guides/prune.md":       {"": onMachine},
	"docs/guides/publish.md":     {"": onMachine, "Change it": onMachine, "Images from elsewhere": onMachine, "With other tools": onMachine, "What the registry gets": onMachine},
	"docs/guides/pull.md":        {"": onMachine, "Into containerd": onMachine},
	"docs/guides/signatures.md": {
		"":           "not run: cosign takes five minutes to build; the others are in the part about notation",
		"notation":   "TestSignaturesGuide",
		"cosign":     "not run: cosign takes five minutes to build",
		"containerd": "TestSignaturesInContainerd",
	},
	"docs/guides/verify.md": {"": onMachine},
}

// TestEveryCommandIsRun: each part of README.md and of the guides that has commands is in the list above, by the test that
// runs them or with the reason why none does, and nothing else is.
func TestEveryCommandIsRun(t *testing.T) {
	guides, err := filepath.Glob("../docs/guides/*.md")
	must(t, err)
	pages := []string{"README.md"}
	for _, guide := range guides {
		pages = append(pages, strings.TrimPrefix(guide, "../"))
	}
	for _, page := range slices.Concat(pages, slices.Collect(maps.Keys(documents))) {
		var got []string
		for _, p := range partsOf(t, page) {
			got = append(got, p.heading)
		}
		slices.Sort(got)
		if want := slices.Sorted(maps.Keys(documents[page])); !slices.Equal(got, want) {
			t.Errorf("%s has commands in %q, known are %q", page, got, want)
		}
		for heading, by := range documents[page] {
			if reason, isReason := strings.CutPrefix(by, "not run: "); isReason && reason != "" {
				continue
			}
			if !isTest(t, by) {
				t.Errorf("%s, %q: there is no %s", page, heading, by)
			}
		}
	}
}

// isTest reports whether there is a test of this name here.
func isTest(t *testing.T, name string) bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	declares := regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`)
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		must(t, err)
		return declares.Match(text)
	})
}
