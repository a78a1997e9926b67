package clienttest

import (
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
)

// CheckLedger fails when a password came to anything but the token service of
// its registry, a token anywhere else than to the repository that it is for, a
// request for another repository than the parents' and those below them, or one
// of the secrets to the log since it had so many bytes.
func CheckLedger(t testing.TB, r *registrytest.Registry, logged *registrytest.Output, start int, parents, passwords []string) {
	t.Helper()
	l := registrytest.NewLedger(parents...)
	l.Expect(r)
	for _, password := range passwords {
		l.Show(password, r, registrytest.Of(registrytest.KindToken))
	}
	for _, breach := range l.Breaches() {
		t.Error(breach)
	}
	text := logged.Since(start)
	for _, shown := range l.Shown(text) {
		t.Errorf("the log shows %s: %s", shown, around(text, shown))
	}
}

// around is the first line of a text that holds a word as it is.
func around(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return "encoded"
}
