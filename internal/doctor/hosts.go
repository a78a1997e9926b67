package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/internal/node"
)

// hostsOf finds the hosts.toml that containerd uses for a registry in a
// directory, as a path of the node.
func (d *doctor) hostsOf(certs, registry string) string {
	for _, name := range config.HostDirs(registry) {
		dir := filepath.Join(certs, name)
		if _, err := os.Stat(d.at(dir)); err == nil {
			return filepath.Join(dir, "hosts.toml")
		}
	}
	return filepath.Join(certs, registry, "hosts.toml")
}

// allHosts yields each registry with its hosts.toml in each directory of
// containerd's.
func (d *doctor) allHosts() iter.Seq2[string, string] {
	return func(yield func(registry, path string) bool) {
		for _, certs := range d.certs {
			for _, registry := range d.config.Gateway.Registries {
				if !yield(registry, d.hostsOf(certs, registry)) {
					return
				}
			}
		}
	}
}

// checkHosts looks at the hosts.toml of each registry.
func (d *doctor) checkHosts(context.Context) []Problem {
	var all []Problem
	for registry, path := range d.allHosts() {
		all = append(all, d.checkHostsOf(registry, path)...)
	}
	return all
}

// checkUpstream checks the gateway's own hosts.toml files, which are copies of
// an administrator's in containerd's directory.
func (d *doctor) checkUpstream(context.Context) []Problem {
	var all []Problem
	g := d.config.Gateway
	for _, registry := range g.Registries {
		path := d.hostsOf(g.HostsDir, registry)
		found, err := os.ReadFile(d.at(path))
		if err == nil {
			_, err = config.ParseHosts(path, found)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = append(all, Problem{err.Error() + ": the gateway does not reach " + registry + " without it", "correct it, then " + d.reload()})
			continue
		}
		hosts, wanted, changed := d.upstreamOf(registry)
		if changed == "" || config.SameHosts(found, wanted) || found != nil && d.edited(path, found) {
			continue // or the administrator has replaced it on purpose
		}
		all = append(all, Problem{hosts + " was " + changed + " since it was installed, and the gateway still uses its copy,  " + path, d.installCommand() + ", then " + d.reload()})
	}
	return all
}

// upstreamOf is what the gateway's own hosts.toml of a registry should be now,
// the hosts.toml that it follows from, and how that has changed since the
// installation, if it has. k3s and RKE2 replace theirs, and remove them.
func (d *doctor) upstreamOf(registry string) (hosts string, want []byte, changed string) {
	for _, certs := range d.certs {
		path := d.hostsOf(certs, registry)
		text, err := os.ReadFile(d.at(path))
		recorded := d.record.Has(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && recorded:
			hosts, changed = path, "removed"
		case err == nil && d.edited(path, text):
			hosts, changed = path, "changed"
		}
		if err != nil {
			continue
		}
		if want, err = d.host().Upstream(path, registry, filepath.Dir(path), text); err == nil && want != nil {
			return cmp.Or(hosts, path), want, changed
		}
	}
	return hosts, nil, changed
}

// edited reports whether a file differs from what was installed.
func (d *doctor) edited(path string, text []byte) bool {
	return !d.record.Wrote(path, text)
}

// installCommand is the command that repeats the installation, with additional
// registries.
func (d *doctor) installCommand(more ...string) string { return d.installation.Command(more...) }

// installFor is the command that repeats the installation, for a program, too.
func (d *doctor) installFor(program string) string {
	o := d.installation
	if !o.Names(program) {
		o.For = append(slices.Clone(o.For), program)
	}
	return o.Command()
}

func (d *doctor) checkHostsOf(registry, path string) []Problem {
	certs := filepath.Dir(filepath.Dir(path))
	text, err := os.ReadFile(d.at(path))
	if errors.Is(err, fs.ErrNotExist) {
		return d.stops(certs, registry, Problem{fmt.Sprintf("%s does not exist, so that %s does not use the gateway for %s", path, d.programAt(certs), registry), d.installCommand()})
	}
	if err != nil {
		return d.stops(certs, registry, Problem{err.Error(), "run nestctl doctor as root"})
	}
	hosts, err := config.ParseHosts(path, text)
	if err != nil {
		return d.stops(certs, registry, Problem{fmt.Sprintf("%s: %s goes on without the file", err, d.programAt(certs)), "correct it"})
	}
	all := problemsOf(config.CheckHosts(d.Root, certs, registry), "")
	if url := d.host().URL(); len(hosts.Hosts) > 0 && d.isGateway(hosts.Hosts[0]) && hosts.Hosts[0].SkipVerify {
		all = append(all, Problem{fmt.Sprintf("%s: [host.%q] has skip_verify, so that any process on the node can pretend to be the gateway", path, url), "remove skip_verify"})
	}
	all = append(all, d.stops(certs, registry, d.checkNamed(path, hosts)...)...)
	return append(all, d.stops(certs, registry, d.checkFirst(path, hosts)...)...)
}

// checkNamed checks the files that a hosts.toml names, apart from the gateway's
// own, which [doctor.read] does. containerd and Docker Engine pull nothing at all
// from the registry when there is one that they cannot use.
func (d *doctor) checkNamed(path string, hosts config.Hosts) (all []Problem) {
	spoiled := func(name, why string) {
		all = append(all, Problem{fmt.Sprintf("%s names %s: %s; %s pulls nothing with it", path, name, why, d.programAt(filepath.Dir(filepath.Dir(path)))),
			"put it right, or take it out of " + path})
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(d.at(beside(path, name)))
		if err != nil {
			spoiled(name, reason(err))
		}
		return data
	}
	for i, h := range append(slices.Clone(hosts.Hosts), hosts.Server) {
		if i == 0 && d.isGateway(h) {
			h.CA, h.Client = h.CA[min(1, len(h.CA)):], h.Client[min(1, len(h.Client)):]
		}
		for _, name := range h.CA {
			if data := read(name); data != nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
				spoiled(name, "has no certificate")
			}
		}
		for _, pair := range h.Client {
			certificate := read(pair[0])
			key := certificate
			if pair[1] != "" {
				key = read(pair[1])
			}
			if _, err := tls.X509KeyPair(certificate, key); err != nil && certificate != nil && key != nil {
				spoiled(pair[0], err.Error())
			}
		}
	}
	return all
}

// beside is the path of a file that a hosts.toml names.
func beside(hosts, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(hosts), name)
}

// programAt is the program that uses a directory of hosts.toml files.
func (d *doctor) programAt(certs string) string {
	at := slices.IndexFunc(node.ClientNames(), func(program string) bool { return slices.Contains(d.installation.DirsOf(program), certs) })
	return node.ClientNames()[max(at, 0)]
}

// checkFirst checks that the gateway is the first host.
func (d *doctor) checkFirst(path string, hosts config.Hosts) []Problem {
	url := d.host().URL()
	at := slices.IndexFunc(hosts.Hosts, d.isGateway)
	table := fmt.Sprintf("[host.%q]", url)
	switch {
	case at < 0:
		return []Problem{{path + ": the gateway, " + table + ", is not in it", d.installCommand()}}
	case at > 0:
		d.note(fmt.Sprintf("%s: [host.%q] is before the gateway", path, hosts.Hosts[0].URL), "when another program writes it there, see docs/neighbours.md")
		return []Problem{{fmt.Sprintf("%s: %s is not the first host, so that %s tries others before it", path, table, d.programAt(filepath.Dir(filepath.Dir(path)))), "move it before all other hosts"}}
	}
	h := hosts.Hosts[0]
	var all []Problem
	if h.URL != url {
		all = append(all, Problem{fmt.Sprintf("%s: [host.%q] is not the gateway's URL", path, h.URL), "make it " + table})
	}
	if h.OverridePath {
		all = append(all, Problem{path + ": " + table + " has override_path, so that requests come without /v2 and the gateway does not know them", "remove override_path"})
	}
	if len(h.Capabilities) > 0 && (!slices.Contains(h.Capabilities, "pull") || !slices.Contains(h.Capabilities, "resolve")) {
		all = append(all, Problem{path + ": " + table + " is not used for all requests of a pull", `set capabilities = ["pull", "resolve"]`})
	}
	if len(h.CA) == 0 || len(h.Client) == 0 {
		all = append(all, Problem{path + ": " + table + " lacks ca or client, without which gateway and containerd do not trust each other", "nestctl uninstall, then " + d.installCommand()})
	}
	return all
}

// isGateway reports whether a host is the gateway, whatever its scheme: by its
// address or, when that was changed, by its certificate.
func (d *doctor) isGateway(h config.Host) bool {
	return d.host().Is(h.URL) || h.IsGateway()
}

// host is the gateway as an entry of hosts.toml files.
func (d *doctor) host() config.GatewayHost {
	return config.GatewayHost{Address: d.config.Gateway.Address}
}

// pair are the files with which a client and the gateway authenticate each other.
type pair struct {
	hosts, ca, client string // paths on the node; hosts is the file that names the others
	config.Certificates
	forGroup bool // the key is for a group, too
}

// pairOf reads the files that a hosts.toml names; nil when it names none, which
// checkHosts reports.
func (d *doctor) pairOf(hosts string) (*pair, []Problem) {
	p := &pair{hosts: hosts}
	h, ok := d.gatewayIn(p.hosts)
	if !ok {
		return nil, nil
	}
	return p, d.read(p, h.CA[0], h.Client[0])
}

// read reads the files of a pair: the CA, the certificate, and the key unless it
// is in the certificate's file.
func (d *doctor) read(p *pair, ca string, client [2]string) (missing []Problem) {
	read := func(path string) (string, []byte) {
		path = beside(p.hosts, path)
		data, err := os.ReadFile(d.at(path))
		if err != nil {
			missing = append(missing, Problem{fmt.Sprintf("%s, which %s needs: %s", path, p.hosts, reason(err)), d.installCommand()})
		}
		return path, data
	}
	p.ca, p.CA = read(ca)
	p.client, p.Client = read(client[0])
	if client[1] != "" {
		var data []byte
		p.client, data = read(client[1]) // the secret
		p.Client = append(p.Client, data...)
	}
	_, p.Gateway = read(d.config.Gateway.Certificate)
	return missing
}

// gatewayIn finds the gateway in a hosts.toml, with the files that it needs.
func (d *doctor) gatewayIn(path string) (config.Host, bool) {
	text, err := os.ReadFile(d.at(path))
	if err != nil {
		return config.Host{}, false
	}
	hosts, err := config.ParseHosts(path, text)
	if err != nil || len(hosts.Hosts) == 0 {
		return config.Host{}, false
	}
	h := hosts.Hosts[0]
	return h, d.isGateway(h) && len(h.CA) > 0 && len(h.Client) > 0
}

// reason is an error without its path, which the problem names already.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// checkCertificates looks at the certificates of each program, apart from
// buildkitd's, which [doctor.checkBuildKit] does.
func (d *doctor) checkCertificates(context.Context) []Problem {
	var all []Problem
	for _, w := range d.allWays() {
		if w.program == node.BuildKit {
			continue
		}
		all = append(all, d.stops(w.where, w.prefix, w.lacks...)...)
		if w.files != nil && w.lacks == nil {
			all = append(all, d.checkPair(w)...)
		}
	}
	return all
}

func (d *doctor) checkPair(w way) []Problem {
	p, checkKey := w.files, config.CheckSecret
	if p.forGroup {
		checkKey = config.CheckFile
	}
	all := slices.Concat(
		problemsOf(config.CheckFile(d.at(p.ca)), "make it a file that root can read"),
		problemsOf(checkKey(d.at(p.client)), "make it a file that root can read"))
	stop := func(what, fix string) { all = append(all, d.stops(w.where, w.prefix, Problem{what, fix})...) }
	until, err := p.Until()
	if err != nil {
		stop(fmt.Sprintf("%s, %s, %s: %s", p.ca, p.client, d.config.Gateway.Certificate, err), d.newCertificates())
	} else if until.Before(d.Now) {
		stop(fmt.Sprintf("the certificates that %s names expired on %s", p.hosts, until.Format(time.DateOnly)), renewFix)
	} else if due := d.checkDue(p.hosts, until); due != nil {
		all = append(all, due...)
	} else if err := p.Check(d.config.Gateway.Address, d.Now); err != nil {
		stop(fmt.Sprintf("%s, %s, %s do not fit each other: %s", p.ca, p.client, d.config.Gateway.Certificate, err), d.newCertificates())
	}
	return all
}

const renewFix = "nestctl install; systemctl status nested-renew.timer says why it was not done"

// checkDue checks that certificates do not expire soon.
func (d *doctor) checkDue(names string, until time.Time) []Problem {
	if !config.Due(until, d.Now) {
		return nil
	}
	return []Problem{{fmt.Sprintf("the certificates that %s names expire on %s and should have been renewed", names, until.Format(time.DateOnly)), renewFix}}
}

// newCertificates is the command that replaces the certificates.
func (d *doctor) newCertificates() string {
	return "move " + filepath.Dir(d.config.Gateway.Certificate) + " away, then nestctl uninstall and " + d.installCommand()
}
