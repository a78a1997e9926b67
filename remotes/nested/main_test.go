package nested_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"

	"github.com/nestedoci/nested/internal/leaktest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestMain is a credential helper when it is started under the name of one,
// and otherwise runs the tests.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "docker-credential-") {
		os.Exit(helperMain(os.Args[0]))
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		askedDNS.Add(1) // for a name that is not in the hosts file
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}}
	log.L.Logger.SetOutput(&logged) // containerd logs each request
	log.L.Logger.SetLevel(logrus.DebugLevel)
	if os.Getenv(proxyTest) != "" {
		os.Exit(m.Run()) // its proxy outlives it
	}
	leaktest.Main(m)
}

// askedDNS counts questions to name servers. There is no test that needs an answer.
var askedDNS atomic.Int64

// logged is all that was logged, at the most talkative.
var logged registrytest.Output

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
	self := must(os.Executable())
	text := must(json.Marshal(logins))
	check(t, os.Symlink(self, filepath.Join(dir, "docker-credential-fake")))
	check(t, os.WriteFile(filepath.Join(dir, "docker-credential-fake.json"), text, 0o600))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("GORACE", "atexit_sleep_ms=0") // the helper is built with -race as well
	return "fake"
}
