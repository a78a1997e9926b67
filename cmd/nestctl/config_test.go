package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
)

// TestManyProblems: of a file that is full of mistakes, the first hundred are printed, and how many more there are.
func TestManyProblems(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.toml")
	clienttest.NoError(t, os.WriteFile(file, []byte(strings.Repeat("x=1\n", 1<<18)), 0o600))
	more := regexp.MustCompile(`and 2620\d\d more\n`)
	for _, command := range []string{"config check", "gateway --config"} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append(strings.Fields(command), file), &stdout, &stderr)
		said := stderr.String()
		if status != failure || stdout.Len() > 0 || strings.Count(said, "unknown key x;") != 100 || !more.MatchString(said) {
			t.Errorf("%s: exit status %d, %d bytes: %s", command, status, len(said), said[max(0, len(said)-200):])
		}
	}
}
