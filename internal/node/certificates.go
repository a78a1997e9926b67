package node

import (
	"path/filepath"
	"time"

	"github.com/nestedoci/nested/config"
)

// The gateway's certificates, where [config.Default] has them.
const (
	tlsDir      = "/etc/nested/tls"
	gatewayPEM  = tlsDir + "/gateway.pem"
	clientCAPEM = tlsDir + "/ca.pem"
)

// fittingCertificates returns the installed certificates, or new ones when they
// do not match each other or expire soon, and when they expire.
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

// certificates reads the installed set, as far as it exists.
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
	for _, path := range append(i.record.named(config.NewGatewayHost(address, ids[0]).Client), buildKitFile(ids[0], ".cert")) {
		if set.Client, err = i.data(path); err != nil || set.Client != nil {
			return set, err
		}
	}
	set.Client, err = i.containersPair(address)
	return set, err
}

// clientFiles are containerd's files in some directories, and those of the
// previous set as far as they exist: a running pull may still read them.
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
