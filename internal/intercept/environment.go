package intercept

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// environ is an environment: NAME=VALUE, of which the last one counts, as in package os/exec.
type environ []string

// get returns the first of the variables that is not empty.
func (e environ) get(names ...string) string {
	for _, name := range names {
		for _, entry := range slices.Backward(e) {
			if value, ok := strings.CutPrefix(entry, name+"="); ok {
				if value != "" {
					return value
				}
				break
			}
		}
	}
	return ""
}

// set gives a variable a value.
func (e *environ) set(name, value string) { *e = append(*e, name+"="+value) }

// bundleVariables name what clients trust: Go's programs and OpenSSL's, curl, Python's requests, Node (which adds it to
// its own), and git.
var bundleVariables = []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"}

// environment is the command's: what it would have had, and the way through the proxy. Its files go to a directory.
func (p *proxy) environment(directory string) ([]string, error) {
	e := slices.Clone(p.Upstream.environ)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		e.set(name, p.url())
	}
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if e.get(name) != "" { // some prefer it; without it other schemes stay as they are
			e.set(name, p.url())
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if list := e.get(name); list != "" {
			e.set(name, without(list, p.Registries))
		}
	}
	return e, p.trust(&e, directory)
}

// trust writes the files that the variables name: the roots that each named before, and the CA.
func (p *proxy) trust(e *environ, directory string) error {
	common := filepath.Join(directory, "roots.pem")
	if err := os.WriteFile(common, p.Upstream.roots.with(p.ca.certificate), 0o600); err != nil {
		return err
	}
	for _, name := range bundleVariables {
		file := common
		if before := e.get(name); before != "" && name != "SSL_CERT_FILE" {
			own, err := rootsAt(before)
			if err != nil {
				return fmt.Errorf("%s: %w; name a file with certificates", name, err)
			}
			file = filepath.Join(directory, strings.ToLower(name)+".pem")
			if err := os.WriteFile(file, own.with(p.ca.certificate), 0o600); err != nil {
				return err
			}
		}
		e.set(name, file)
	}
	if e.get("SSL_CERT_DIR") != "" { // what is there is in the file, too; who looks at nothing else finds it here
		e.set("SSL_CERT_DIR", directory)
	}
	return nil
}

// without returns a NO_PROXY list without the entries that some client could take for one of the registries. What they
// name beside those goes where it went before, since the proxy obeys the whole list.
func without(list string, registries []Registry) string {
	separator := func(r rune) bool { return r == ',' || r == ' ' || r == '\t' } // curl takes blanks as well
	entries := strings.FieldsFunc(list, separator)
	kept := slices.DeleteFunc(slices.Clone(entries), func(entry string) bool {
		return slices.ContainsFunc(registries, func(r Registry) bool { return r.isNamedBy(entry) })
	})
	if len(kept) == len(entries) {
		return list
	}
	return strings.Join(kept, ",")
}

// isNamedBy reports whether an entry of NO_PROXY may be about the registry: as Go's programs read it, or with a suffix as
// others do (curl takes .a.test for a.test, Python's requests test for a.test).
func (r Registry) isNamedBy(entry string) bool {
	suffix := strings.ToLower(strings.TrimLeft(entry, "*."))
	noProxy := httpproxy.Config{HTTPProxy: "http://proxy.invalid", HTTPSProxy: "http://proxy.invalid", NoProxy: entry + "," + suffix}
	find := noProxy.ProxyFunc()
	for _, host := range r.hosts() {
		for _, scheme := range []string{"https", "http"} {
			through, err := find(&url.URL{Scheme: scheme, Host: Registry{host, r.port}.String()})
			if err == nil && through == nil {
				return true
			}
		}
		if strings.HasSuffix(host, suffix) || strings.HasSuffix(Registry{host, r.port}.String(), suffix) {
			return true
		}
	}
	return false
}
