package integration

import (
	"cmp"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestSoak pulls for a while through all doors from a registry that fails at random. SOAK is how long, SOAK_SEED repeats
// a run's program of faults.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("SOAK"), "20s"))
	must(t, err)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SOAK_SEED"), fmt.Sprint(time.Now().UnixNano()%1_000_000)), 10, 64)
	must(t, err)
	t.Logf("SOAK=%s SOAK_SEED=%d", length, seed)

	program := newFaults(seed)
	behind := func(s *httptest.Server) { s.Config.Handler = program.before(s.Config.Handler); s.Start() }
	bundle := newApp(t)
	tokens := serveTokens(t, userPerRepository(repositories("org/app", bundle)...), behind)
	a := publishAt(t, registryOptions{serve: behind}.start(t, tokens), bundle)
	client := newNestctl(t, dockerConfig(t, a.logins, nil))

	program.set(0.1)
	pulls, again := 0, 0
	for end := time.Now().Add(length); time.Now().Before(end); pulls++ {
		to := filepath.Join(t.TempDir(), "layout")
		for attempt := 1; ; attempt++ {
			out := client.try(t, "pull", "--plain-http", "--to", "oci-layout:"+to, a.ref)
			if out.code == exitOK {
				break
			}
			if again++; attempt == 3 {
				t.Fatalf("attempt %d: exit code %d\n%s", attempt, out.code, out.stderr)
			}
		}
		must(t, os.RemoveAll(to))
	}
	t.Logf("%d pulls, %d attempts more; faults: %v", pulls, again, program.counts)
}
