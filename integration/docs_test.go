package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

// docScript is what a section of a document of docs has to be done, as a script: its indented blocks are commands, and its
// fenced blocks, whose first lines are comments with names, are files.
func docScript(t *testing.T, document, section string) string {
	t.Helper()
	text := readText(t, filepath.Join("../docs", document))
	_, text, found := strings.Cut(text, "\n## "+section+"\n")
	if !found {
		t.Fatalf("%s has no section %q", document, section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var script strings.Builder
	for fence, rest := "", text; rest != ""; {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		switch {
		case fence == "" && strings.HasPrefix(line, "```"):
			var name string
			name, rest, _ = strings.Cut(rest, "\n")
			name, found = strings.CutPrefix(name, "# ")
			if !found {
				t.Fatalf("%s: a block begins with %q", section, name)
			}
			fence = "END"
			script.WriteString("cat >" + name + " <<'END'\n")
		case fence != "" && line == "```":
			script.WriteString(fence + "\n")
			fence = ""
		case fence != "":
			script.WriteString(line + "\n")
		case strings.HasPrefix(line, "    "):
			script.WriteString(strings.TrimPrefix(line, "    ") + "\n")
		}
	}
	if script.Len() == 0 {
		t.Fatalf("%s: nothing to be done", section)
	}
	return script.String()
}
