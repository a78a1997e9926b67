package intercept

import (
	"slices"
	"strings"
)

// RegistriesIn returns the registries of the references among the arguments of a command, each once: host/name,
// docker://host/name and oci://host/name, https://host and http://host, alone or as --flag=VALUE. Whether host/name has
// a host is decided by docker's rule: it has a dot or a port, or is localhost.
func RegistriesIn(arguments []string) []Registry {
	var found []Registry
	for _, argument := range arguments {
		if strings.HasPrefix(argument, "-") {
			_, argument, _ = strings.Cut(argument, "=")
		}
		if r, ok := registryOf(argument); ok && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	return found
}

// registryOf returns the registry of a reference. Only its host is judged: what names clients allow behind that is
// theirs to know.
func registryOf(reference string) (Registry, bool) {
	scheme, rest, hasScheme := strings.Cut(reference, "://")
	if !hasScheme {
		scheme, rest = "", reference
	}
	host, _, hasName := strings.Cut(rest, "/")
	switch scheme {
	case "http", "https":
		host = host[strings.LastIndexByte(host, '@')+1:]
		host, _, _ = strings.Cut(host, "?")
	case "docker":
		if !hasName || !isHost(host) { // docker://nginx
			return Registry{host: hub[0]}, rest != ""
		}
	case "", "oci":
		if !hasName || !isHost(host) {
			return Registry{}, false
		}
	default:
		return Registry{}, false
	}
	r, err := ParseRegistry(host)
	return r, err == nil
}

// isHost is docker's rule for the first component of a reference.
func isHost(component string) bool {
	return strings.ContainsAny(component, ".:") || component == "localhost"
}
