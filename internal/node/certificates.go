package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nestedoci/nested/config"
)

// The gateway's certificates, where [config.Default] has them.
const (
	tlsDir      = "/etc/nested/tls"
	gatewayPEM  = tlsDir + "/gateway.pem"
	clientCAPEM = tlsDir + "/ca.pem"
)

// fittingCertificates are those that are installed, or new ones where they do
// not fit or are about to end, and when they end.
func (i installed) fittingCertificates(address string, now time.Time) (fitting config.Certificates, until time.Time, err error) {
	current, err := i.certificates(address)
	if err != nil {
		return config.Certificates{}, time.Time{}, err
	}
	if current.Check(address, now) == nil {
		if until, err = current.Until(); err != nil || !config.Due(until, now) {
			return current, until, err
		}
	}
	made, err := config.NewCertificates(address, now)
	if err != nil {
		return config.Certificates{}, time.Time{}, err
	}
	until, err = made.Until()
	return made.After(current), until, err
}

// certificates reads the set that is installed, as far as it is there.
func (i installed) certificates(address string) (config.Certificates, error) {
	ca, err := i.data(clientCAPEM)
	if err != nil {
		return config.Certificates{}, err
	}
	set := config.Certificates{CA: ca}
	if set.Gateway, err = i.data(gatewayPEM); err != nil {
		return set, err
	}
	ids := config.CertificateIDs(ca)
	if len(ids) == 0 {
		return set, nil
	}
	for _, path := range i.record.named(config.NewGatewayHost(address, ids[0]).Client) {
		if set.Client, err = i.data(path); err != nil || set.Client != nil {
			return set, err
		}
	}
	return set, nil
}

// clientFiles are containerd's files in some directories, and those of the
// set before as far as they are there: a pull that has begun may still read
// them.
func (i installed) clientFiles(dirs []string, address string, certificates config.Certificates) ([]file, error) {
	var all []file
	ids := config.CertificateIDs(certificates.CA)
	for _, dir := range dirs {
		host := config.NewGatewayHost(address, ids[0])
		all = append(all,
			file{path: filepath.Join(dir, host.Client), contents: newContents(certificates.Client, 0o600)},
			file{path: filepath.Join(dir, host.CA), contents: newContents(certificates.CA, 0o644)})
		for _, id := range ids[1:] {
			earlier := config.NewGatewayHost(address, id)
			for _, name := range []string{earlier.Client, earlier.CA} {
				kept, err := i.keep(filepath.Join(dir, name))
				if err != nil {
					return nil, err
				}
				all = append(all, kept...)
			}
		}
	}
	return all, nil
}

func caFile(certificates config.Certificates) []file {
	return []file{{path: clientCAPEM, contents: newContents(certificates.CA, 0o644)}}
}

func gatewayFile(certificates config.Certificates) []file {
	return []file{{path: gatewayPEM, contents: newContents(certificates.Gateway, 0o600)}}
}

// planCertificates lists all files with new certificates, or none when they are
// not about to end. Files that certificates have no part in stay as they are.
func (i installed) planCertificates(o Options, now time.Time) (plan, error) {
	certificates, until, err := i.fittingCertificates(o.Address, now)
	if err != nil {
		return plan{}, err
	}
	p := plan{options: o, until: until}
	current, err := i.data(gatewayPEM)
	if err != nil || bytes.Equal(current, certificates.Gateway) && i.record.finished() {
		return p, err
	}
	hosts, err := i.renewedHosts(o, certificates)
	if err != nil {
		return plan{}, err
	}
	var dirs []string
	for _, f := range hosts {
		dirs = append(dirs, filepath.Dir(f.path))
	}
	clients, err := i.clientFiles(dirs, o.Address, certificates)
	if err != nil {
		return plan{}, err
	}
	others, err := i.others(o)
	p.files = slices.Concat(clients, caFile(certificates), hosts, gatewayFile(certificates), others)
	return p, err
}

// renewedHosts are the hosts.toml files with the names of new certificates.
func (i installed) renewedHosts(o Options, certificates config.Certificates) ([]file, error) {
	gateway := config.NewGatewayHost(o.Address, certificates.ID())
	var all []file
	for _, e := range i.record.Files {
		if !o.isHosts(e.Path) {
			continue
		}
		current, err := i.disk.read(e.Path)
		if err != nil {
			return nil, err
		}
		if current == nil {
			return nil, fmt.Errorf("%s: %w; run nestctl install again as it was run before", e.Path, os.ErrNotExist)
		}
		f, err := i.renamed(e.Path, current, gateway)
		if err != nil {
			return nil, err
		}
		if e.ours(current) {
			f.edited = nil
		}
		all = append(all, f)
	}
	return all, nil
}

// others are the files that certificates have no part in.
func (i installed) others(o Options) ([]file, error) {
	certificates := append(i.record.named("nested-*.pem"), clientCAPEM, gatewayPEM)
	var all []file
	for _, e := range i.record.Files {
		if o.isHosts(e.Path) || slices.Contains(certificates, e.Path) {
			continue
		}
		kept, err := i.keep(e.Path)
		if err != nil {
			return nil, err
		}
		all = append(all, kept...)
	}
	return all, nil
}

// isHosts reports whether a path is a hosts.toml of containerd's.
func (o *Options) isHosts(path string) bool {
	return filepath.Base(path) == "hosts.toml" && slices.Contains(o.ContainerdCerts, filepath.Dir(filepath.Dir(path)))
}

// writtenAnew reports whether the gateway is not in a hosts.toml any more in
// which it was installed: k3s and RKE2 write theirs anew when they start, and
// remove those of registries that they do not know any more.
func (i installed) writtenAnew() (bool, error) {
	for _, e := range i.record.Files {
		if !i.record.Options.isHosts(e.Path) {
			continue
		}
		current, err := i.disk.read(e.Path)
		if err != nil {
			return false, err
		}
		if !e.ours(current) && !i.isEdited(e.Path, current) {
			return true, nil
		}
	}
	return false, nil
}
