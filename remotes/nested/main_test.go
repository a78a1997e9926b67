package nested_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
)

// TestMain is a credential helper when it is started under the name of one,
// and otherwise runs the tests.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "docker-credential-") {
		os.Exit(helperMain(os.Args[0]))
	}
	clienttest.Main(m)
}

// login is what a store holds for one server.
type login struct{ Username, Secret string }

// helperMain answers with what the file beside the program holds for the
// server that it is asked for.
func helperMain(path string) int {
	var logins map[string]login
	text, err := os.ReadFile(path + ".json")
	if err != nil || json.Unmarshal(text, &logins) != nil || len(os.Args) != 2 || os.Args[1] != "get" {
		return 2
	}
	server, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 2
	}
	found, ok := logins[string(server)]
	if !ok {
		_, _ = io.WriteString(os.Stdout, "credentials not found in native keychain\n")
		return 1
	}
	if json.NewEncoder(os.Stdout).Encode(found) != nil {
		return 2
	}
	return 0
}

// installHelper puts a helper with these logins into PATH and returns its
// name.
func installHelper(t *testing.T, logins map[string]login) string {
	t.Helper()
	dir := t.TempDir()
	self := clienttest.Must(os.Executable())
	text := clienttest.Must(json.Marshal(logins))
	clienttest.NoError(t, os.Symlink(self, filepath.Join(dir, "docker-credential-fake")))
	clienttest.NoError(t, os.WriteFile(filepath.Join(dir, "docker-credential-fake.json"), text, 0o600))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the helper is built with -race as well
	return "fake"
}
