package intercept

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	// authorityLife bounds what a CA is worth whose file was left behind. Its key ends with the process.
	authorityLife = 7 * 24 * time.Hour
	// leafLife is how long a certificate for a registry is shown; then there is another one.
	leafLife = 24 * time.Hour
	// skew is how far back certificates are valid, for clients with a clock of their own (a virtual machine).
	skew = 5 * time.Minute
)

// authorityName is the name of a command's CA; other CAs are for the tests.
const authorityName = "nestctl exec, for one command"

// authority signs for some hosts. Its key is in memory alone.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	hosts       []string
	ends        time.Time

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// newAuthority makes a CA that can sign for the hosts alone: clients check that by its name constraints (RFC 5280,
// section 4.2.1.10).
func newAuthority(name string, hosts []string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	constrain(template, hosts)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate: certificate, key: key, hosts: hosts, ends: template.NotAfter, leaves: map[string]*tls.Certificate{}}, nil
}

// constrain lets a CA sign for hosts alone. A kind of name that none of them is of would be free, so it is bound to
// nothing.
func constrain(template *x509.Certificate, hosts []string) {
	template.PermittedDNSDomainsCritical = true // of all constraints
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.PermittedIPRanges = append(template.PermittedIPRanges, only(ip))
		} else {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, host)
		}
	}
	if len(template.PermittedDNSDomains) == 0 {
		template.PermittedDNSDomains = []string{"invalid"} // nobody has it; RFC 2606
	}
	if len(template.PermittedIPRanges) == 0 {
		template.ExcludedIPRanges = []*net.IPNet{
			{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
			{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
		}
	}
}

// only is the range of one address.
func only(ip net.IP) *net.IPNet {
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))}
}

// leaf returns a certificate for a host.
func (a *authority) leaf(host string) (*tls.Certificate, error) {
	if !slices.Contains(a.hosts, host) {
		return nil, errors.New("no certificate for other hosts")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if kept := a.leaves[host]; kept != nil && time.Until(kept.Leaf.NotAfter) > leafLife/2 {
		return kept, nil
	}
	made, err := a.sign(host)
	if err == nil {
		a.leaves[host] = made
	}
	return made, err
}

func (a *authority) sign(host string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		NotBefore:   now.Add(-skew),
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(a.ends) {
		template.NotAfter = a.ends
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
