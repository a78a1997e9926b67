package intercept

import (
	"testing"

	"github.com/nestedoci/nested/internal/sanitize"
)

// FuzzRegistry: what is a registry reads back as itself, can be shown and certified, and an argument that names one names
// a host that is one.
func FuzzRegistry(f *testing.F) {
	for _, seed := range []string{"registry.test:5000", "[2001:db8::1]:5000", "docker://nginx", "https://u@a.test?x", "--a=b.test/c", "1.2.3.4/x", "a.test./x", "[::ffff:1.2.3.4]/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found := RegistriesIn([]string{text})
		if r, err := ParseRegistry(text); err == nil {
			found = append(found, r)
		}
		for _, r := range found {
			again, err := ParseRegistry(r.String())
			if err != nil || again != r || sanitize.Text(r.String()) != r.String() {
				t.Errorf("%q: %q reads back as %q (%v)", text, r, again, err)
			}
			if !r.has(targetOf("https", r.String())) {
				t.Errorf("%q: %q has not its own host", text, r)
			}
		}
	})
}
