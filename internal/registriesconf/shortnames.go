package registriesconf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/nestedoci/nested/internal/sanitize"
)

// shortNames are the settings of a file for names without a registry. Nothing is
// done with them: a file in which one is wrong is refused as a whole, so that
// nothing is pulled at all.
type shortNames struct {
	Search  []string          `toml:"unqualified-search-registries"`
	Mode    string            `toml:"short-name-mode"`
	Aliases map[string]string `toml:"aliases"`
	Helpers []string          `toml:"credential-helpers"`
}

// check does what containers/image does after reading them.
func (s shortNames) check() error {
	for _, registry := range s.Search {
		if strings.HasPrefix(registry, "http://") || strings.HasPrefix(registry, "https://") {
			return fmt.Errorf("unqualified-search-registries: %s: must have no scheme", sanitize.Quote(registry))
		}
	}
	if !slices.Contains([]string{"", "enforcing", "permissive", "disabled"}, s.Mode) {
		return fmt.Errorf("short-name-mode: %s is none of enforcing, permissive and disabled", sanitize.Quote(s.Mode))
	}
	for name, value := range s.Aliases {
		if !isName(name, false) {
			return fmt.Errorf("aliases: %s: must be a name without registry, tag and digest", sanitize.Quote(name))
		}
		if value != "" && !isName(value, true) { // an empty one takes back an earlier file's
			return fmt.Errorf("aliases: %s: must be a registry and a repository, without tag and digest", sanitize.Quote(value))
		}
	}
	return nil
}

// isName reports whether a text is a repository's name, with or without its
// registry, and nothing more.
func isName(text string, registry bool) bool {
	ref, err := reference.Parse(text)
	named, ok := ref.(reference.Named)
	if err != nil || !ok || !reference.IsNameOnly(named) {
		return false
	}
	host := reference.Domain(named)
	return registry == (strings.ContainsAny(host, ".:") || host == "localhost")
}
