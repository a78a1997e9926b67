package integration

import (
	"os/exec"
	"strings"
	"testing"
)

// TestTreeGraphs: what tree prints for documents is drawn by graphviz, with hostile names as they are shown elsewhere.
func TestTreeGraphs(t *testing.T) {
	needs(t, "dot")
	kind := `application/"];x->y;\N\l<b>&lt;` + "\x1b[1m`%%{init}%%"
	a := publishAt(t, startRegistry(t, nil), newBundle(t, member{"web", newImage(t, amd64, "web\n", baseLayer(t))},
		member{"odd", newArtifact(t, kind, randomBlob("application/octet-stream", 10))}))
	text := newNestctl(t, dockerConfig(t, nil, nil)).run(t, "tree", "--plain-http", "--format", "dot", a.ref).stdout
	cmd := exec.CommandContext(t.Context(), "dot", "-Tplain")
	cmd.Stdin = strings.NewReader(text)
	drawn, err := cmd.CombinedOutput()
	must(t, err)
	lines := strings.Split(string(drawn), "\n")
	starts := func(with string) (n int) {
		for _, line := range lines {
			if strings.HasPrefix(line, with) {
				n++
			}
		}
		return n
	}
	if starts("node ") != 3 || starts("edge ") != 2 || len(lines) != 8 || !strings.Contains(string(drawn), `x->y;`) || !strings.Contains(string(drawn), `<b>&lt;`) {
		t.Errorf("graphviz draws\n%s\nof\n%s", drawn, text)
	}
}
