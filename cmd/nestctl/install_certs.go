package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/config"
)

// The gateway's certificates, where [config.Default] has them.
const (
	tlsDir      = "/etc/nested/tls"
	gatewayPEM  = tlsDir + "/gateway.pem"
	clientCAPEM = tlsDir + "/ca.pem"
)

// planCertificates takes the certificates that are installed, or makes new
// ones when they do not fit or are about to end.
func (p *planner) planCertificates() error {
	current, err := p.installedCertificates()
	if err != nil {
		return err
	}
	if current.Check(p.options.Address, p.now) == nil {
		if p.until, err = current.Until(); err != nil {
			return err
		}
		if !config.Due(p.until, p.now) {
			p.certificates = current
			return nil
		}
	}
	made, err := config.NewCertificates(p.options.Address, p.now)
	if err != nil {
		return err
	}
	p.certificates = made.After(current)
	p.until, err = made.Until()
	return err
}

// installedCertificates reads the set that is installed, as far as it is there.
func (p *planner) installedCertificates() (config.Certificates, error) {
	ca, err := p.data(clientCAPEM)
	if err != nil {
		return config.Certificates{}, err
	}
	set := config.Certificates{CA: ca}
	if set.Gateway, err = p.data(gatewayPEM); err != nil {
		return set, err
	}
	ids := config.CertificateIDs(ca)
	if len(ids) == 0 {
		return set, nil
	}
	for _, path := range p.recorded("/" + p.hostWith(ids[0]).Client) {
		if set.Client, err = p.data(path); err != nil || set.Client != nil {
			return set, err
		}
	}
	return set, nil
}

// data returns the bytes of a file that we have written.
func (p *planner) data(path string) ([]byte, error) {
	c, err := p.disk.read(path)
	if err != nil || c == nil {
		return nil, err
	}
	if e, ok := p.record.entry(path); !ok || !e.ours(c) {
		return nil, nil
	}
	return c.Data, nil
}

// clientFiles are containerd's files in some directories, and those of the
// set before as far as they are there: a pull that has begun may still read
// them.
func (p *planner) clientFiles(dirs []string) ([]file, error) {
	var all []file
	ids := config.CertificateIDs(p.certificates.CA)
	for _, dir := range dirs {
		host := p.hostWith(ids[0])
		all = append(all,
			file{path: filepath.Join(dir, host.Client), contents: newContents(p.certificates.Client, 0o600)},
			file{path: filepath.Join(dir, host.CA), contents: newContents(p.certificates.CA, 0o644)})
		for _, id := range ids[1:] {
			earlier := p.hostWith(id)
			for _, name := range []string{earlier.Client, earlier.CA} {
				kept, err := p.keep(filepath.Join(dir, name))
				if err != nil {
					return nil, err
				}
				all = append(all, kept...)
			}
		}
	}
	return all, nil
}

// keep wants a recorded file as it is.
func (p *planner) keep(path string) ([]file, error) {
	if _, ok := p.record.entry(path); !ok {
		return nil, nil
	}
	c, err := p.disk.read(path)
	if err != nil || c == nil {
		return nil, err
	}
	return []file{{path: path, contents: *c, edited: c}}, nil
}

func (p *planner) caFile() []file {
	return []file{{path: clientCAPEM, contents: newContents(p.certificates.CA, 0o644)}}
}

func (p *planner) gatewayFile() []file {
	return []file{{path: gatewayPEM, contents: newContents(p.certificates.Gateway, 0o600)}}
}

// planRenewal lists all files with new certificates, or nothing when they are
// not about to end. Files that certificates have no part in stay as they are.
func (p *planner) planRenewal() ([]file, error) {
	if err := p.planCertificates(); err != nil {
		return nil, err
	}
	current, err := p.data(gatewayPEM)
	if err != nil || string(current) == string(p.certificates.Gateway) && p.record.finished() {
		return nil, err
	}
	var hosts, others []file
	var dirs []string
	for _, e := range p.record.Files {
		var f file
		var kept []file
		switch {
		case p.isHosts(e.Path):
			f, err = p.renewedHosts(e)
			dirs, hosts = append(dirs, filepath.Dir(e.Path)), append(hosts, f)
		case !p.isCertificate(e.Path):
			kept, err = p.keep(e.Path)
			others = append(others, kept...)
		}
		if err != nil {
			return nil, err
		}
	}
	clients, err := p.clientFiles(dirs)
	if err != nil {
		return nil, err
	}
	return slices.Concat(clients, p.caFile(), hosts, p.gatewayFile(), others), nil
}

// isHosts tells whether a recorded file is a hosts.toml of containerd's.
func (p *planner) isHosts(path string) bool {
	return filepath.Base(path) == "hosts.toml" && slices.Contains(p.options.ContainerdCerts, filepath.Dir(filepath.Dir(path)))
}

func (p *planner) isCertificate(path string) bool {
	return path == clientCAPEM || path == gatewayPEM || slices.Contains(p.recorded("/nested-*.pem"), path)
}

// writtenAnew reports whether the gateway is not in a hosts.toml any more in
// which it was installed: k3s and RKE2 write theirs anew when they start, and
// remove those of registries that they do not know any more.
func (p *planner) writtenAnew() (bool, error) {
	for _, e := range p.record.Files {
		if !p.isHosts(e.Path) {
			continue
		}
		current, err := p.disk.read(e.Path)
		if err != nil {
			return false, err
		}
		if !e.ours(current) && !p.isEdited(e.Path, current) {
			return true, nil
		}
	}
	return false, nil
}

// renewedHosts is a hosts.toml with the names of the new certificates.
func (p *planner) renewedHosts(e entry) (file, error) {
	current, err := p.disk.read(e.Path)
	if err != nil {
		return file{}, err
	}
	if current == nil {
		return file{}, fmt.Errorf("%s: %w; run nestctl install again as it was run before", e.Path, os.ErrNotExist)
	}
	f, err := p.renamed(e.Path, current)
	if e.ours(current) {
		f.edited = nil
	}
	return f, err
}
