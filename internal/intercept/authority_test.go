package intercept

import (
	"crypto/x509"
	"testing"
	"time"
)

// TestConstraints: what a CA signs for other hosts, nobody believes.
func TestConstraints(t *testing.T) {
	for _, hosts := range [][]string{{"a.test"}, {"192.0.2.1"}, {"2001:db8::1"}, {"a.test", "192.0.2.1"}} {
		ca, err := newAuthority(authorityName, hosts)
		noError(t, err)
		if !ca.certificate.PermittedDNSDomainsCritical || time.Until(ca.certificate.NotAfter) > authorityLife {
			t.Errorf("%q: constraints that are not critical, or a long life", hosts)
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca.certificate)
		for _, host := range []string{"a.test", "192.0.2.1", "2001:db8::1", "b.test", "test", "xa.test", "192.0.2.2", "127.0.0.1", "::1"} {
			signed, err := ca.sign(host)
			noError(t, err)
			_, err = signed.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host})
			isOurs := false
			for _, h := range hosts {
				isOurs = isOurs || h == host
			}
			if (err == nil) != isOurs {
				t.Errorf("for %q, a certificate for %s: %v", hosts, host, err)
			}
			if _, err = ca.leaf(host); (err == nil) != isOurs {
				t.Errorf("for %q, %s gets a certificate: %v", hosts, host, err == nil)
			}
		}
	}
}
