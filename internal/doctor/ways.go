package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/registriesconf"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
)

// way is how a program of the node asks the gateway.
type way struct {
	program string // as --for names it
	where   string // the directory or the file by which it finds the gateway
	says    string // whom it asks, for people
	prefix  string // of the repositories for which it has these files; empty for all
	files   *pair  // by which it and the gateway trust each other; nil when they cannot be read
	lacks   []Problem
	inPath  bool   // it names the registry in the path, not in the query
	below   string // where the gateway's API begins, below /v2/
}

// waysTo are the ways of all programs that are installed for to a registry, in
// the order of [node.ClientNames].
func (d *doctor) waysTo(registry string) []way {
	var all []way
	for _, program := range node.ClientNames() {
		switch {
		case !d.installation.Names(program):
		case program == node.Containers:
			w := way{program: program, where: registriesconf.Dir, inPath: true,
				says: "node gateway, mirror " + d.host().Address + " in registries.conf.d"}
			w.files, w.lacks = d.containersPair()
			all = append(all, w)
		case program == node.BuildKit:
			all = append(all, d.buildKitWay(registry))
		default:
			for _, certs := range d.installation.DirsOf(program) {
				w := way{program: program, where: certs, prefix: registry, says: "node gateway, " + certs}
				w.files, w.lacks = d.pairOf(d.hostsOf(certs, registry))
				all = append(all, w)
			}
		}
	}
	return all
}

// buildKitWay is buildkitd's way to a registry, as its configuration has it.
func (d *doctor) buildKitWay(registry string) way {
	w := way{program: node.BuildKit, where: node.BuildKitConfig, says: "node gateway, mirror in " + node.BuildKitConfig}
	text, err := os.ReadFile(d.at(node.BuildKitConfig))
	if err != nil {
		return w // checkBuildKit says it
	}
	b, err := config.ParseBuildKit(node.BuildKitConfig, text)
	if err != nil {
		return w
	}
	if mirrors := b.Registries[registry].Mirrors; len(mirrors) > 0 {
		_, w.below, _ = strings.Cut(mirrors[0], d.host().Address)
	}
	if set, found := d.buildKitSet("", b.Registries[d.host().Address]); found == nil {
		w.files = &pair{hosts: node.BuildKitConfig, Certificates: set}
	}
	return w
}

// allWays are those to all registries, each with its files once.
func (d *doctor) allWays() []way {
	var all []way
	for _, registry := range d.config.Gateway.Registries {
		for _, w := range d.waysTo(registry) {
			if !slices.ContainsFunc(all, func(o way) bool { return o.where == w.where && o.prefix == w.prefix }) {
				all = append(all, w)
			}
		}
	}
	return all
}

// client asks the gateway with a way's files; nil when they are none.
func (w way) client(address string) *client {
	if w.files == nil {
		return nil
	}
	certificate, err := tls.X509KeyPair(w.files.Client, w.files.Client)
	pool := x509.NewCertPool()
	if err != nil || !pool.AppendCertsFromPEM(w.files.CA) {
		return nil
	}
	return &client{address: address, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// path is what is requested for a manifest.
func (w way) path(in auth.Repository, version string) string {
	name, query := in.Name(), "?ns="+url.QueryEscape(in.Host())
	if w.inPath {
		name, query = gateway.InPath(in.Host())+"/"+name, ""
	}
	return path.Join("/v2", w.below, name, "manifests", version) + query
}

// stop is a problem that keeps a program from pulling through the gateway.
type stop struct {
	where  string // as in a way
	prefix string // of the repositories that are meant; empty for all
	Problem
	fine bool // and that is no problem now
}

// stops takes note of problems that are stops, and returns them.
func (d *doctor) stops(where, prefix string, found ...Problem) []Problem {
	for _, p := range found {
		d.stopped = append(d.stopped, stop{where, prefix, p, false})
	}
	return found
}

// notesStop is stops for what is no problem now, which is noted.
func (d *doctor) notesStop(where, prefix, what, fix string) {
	d.stopped = append(d.stopped, stop{where, prefix, Problem{what, fix}, true})
	d.note(what, fix)
}

// stopOf is the first stop of a program on its way to a repository, or to all
// below a name.
func (d *doctor) stopOf(w way, repository string) *stop {
	at := slices.IndexFunc(d.stopped, func(s stop) bool {
		return s.where == w.where && (s.prefix == "" || strings.HasPrefix(repository+"/", s.prefix+"/"))
	})
	if at < 0 {
		return nil
	}
	return &d.stopped[at]
}

// isInTable reports whether a problem will be in the table of what programs get
// of the references, and so needs no line of its own.
func (d *doctor) isInTable(p Problem) bool {
	return slices.ContainsFunc(d.References, func(ref auth.Reference) bool {
		return d.checkServed(ref) == nil && slices.ContainsFunc(d.waysTo(ref.Repository().Host()), func(w way) bool {
			s := d.stopOf(w, ref.Repository().String())
			return s != nil && s.Problem == p
		})
	})
}
