package config

import (
	"crypto/x509"
	"encoding/asn1"
	"net"
	"strings"
	"testing"
	"time"
)

// TestCASignsForLoopbackOnly has the CA, whose key outlives no installation,
// sign for others all the same: containerd checks with it whatever the gateway
// redirects to.
func TestCASignsForLoopbackOnly(t *testing.T) {
	now := time.Now()
	s, err := newSigner("127.0.0.1:7117", now)
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]bool{"localhost": true, "127.0.0.1": true, "127.0.0.2": false, "registry.example.com": false, "10.0.0.1": false, "::1": false} {
		template := s.template(name, x509.ExtKeyUsageServerAuth)
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = []net.IP{ip}
		} else {
			template.DNSNames = []string{name}
		}
		text, err := s.issue(template)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := firstCertificate(text)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(s.ca)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: now}); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCAConstraints reads what other implementations have to understand.
func TestCAConstraints(t *testing.T) {
	c, err := NewCertificates("localhost:7117", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := firstCertificate(c.CA)
	if err != nil {
		t.Fatal(err)
	}
	critical := false
	for _, e := range ca.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30}) { // name constraints
			critical = e.Critical
		}
	}
	if !critical || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("critical name constraints %v, no intermediates %v, usage %b", critical, ca.MaxPathLenZero, ca.KeyUsage)
	}
	var ranges []string
	for _, r := range ca.PermittedIPRanges {
		ranges = append(ranges, r.String())
	}
	if got := strings.Join(append(ranges, ca.PermittedDNSDomains...), " "); got != "127.0.0.1/32 ::1/128 localhost" {
		t.Error(got)
	}
}

func TestCheckCertificates(t *testing.T) {
	now := time.Now()
	make := func(address string) Certificates {
		c, err := NewCertificates(address, now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good, other := make("127.0.0.1:7117"), make("127.0.0.1:7117")
	for _, test := range []struct {
		name    string
		c       Certificates
		address string
		after   time.Duration
		want    string // empty: nothing is wrong
	}{
		{"good", good, "127.0.0.1:1", 0, ""},
		{"behind another", other.After(good), "127.0.0.1:1", 0, ""},
		{"another address", good, "127.0.0.2:7117", 0, "gateway's certificate: x509: "},
		{"no address", good, "127.0.0.1", 0, `address "127.0.0.1": must be host:port`},
		{"ended", good, "127.0.0.1:7117", 366 * 24 * time.Hour, "gateway's certificate: x509: certificate has expired"},
		{"not begun", good, "127.0.0.1:7117", -2 * time.Hour, "not yet valid"},
		{"another gateway", Certificates{good.CA, other.Gateway, good.Client}, "127.0.0.1:7117", 0, "gateway's certificate: x509: "},
		{"another client", Certificates{good.CA, good.Gateway, other.Client}, "127.0.0.1:7117", 0, "containerd's certificate: x509: "},
		{"exchanged", Certificates{good.CA, good.Client, good.Gateway}, "127.0.0.1:7117", 0, "gateway's certificate: x509: "},
		{"no key", Certificates{good.CA, good.Gateway, good.CA}, "127.0.0.1:7117", 0, "containerd's certificate: tls: "},
		{"nothing", Certificates{}, "127.0.0.1:7117", 0, "CA: no certificate in PEM"},
	} {
		err := test.c.Check(test.address, now.Add(test.after))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestAfter keeps the CAs that the gateway may still need, and no others.
func TestAfter(t *testing.T) {
	var sets []Certificates
	for range 4 {
		c, err := NewCertificates("127.0.0.1:7117", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, c)
	}
	second := sets[1].After(sets[0])
	interrupted := Certificates{CA: second.CA, Gateway: sets[0].Gateway}
	for _, test := range []struct {
		name    string
		earlier Certificates
		want    int
	}{
		{"nothing before", Certificates{}, 1},
		{"one before", sets[0], 2},
		{"two before", second, 2},
		{"interrupted", interrupted, 3},
		{"interrupted twice", Certificates{CA: sets[3].After(interrupted).CA, Gateway: sets[0].Gateway}, 4},
		{"a stranger's gateway", Certificates{CA: sets[0].CA, Gateway: sets[1].Gateway}, 1},
	} {
		ids := CertificateIDs(sets[2].After(test.earlier).CA)
		if len(ids) != test.want || ids[0] != sets[2].ID() {
			t.Errorf("%s: %v", test.name, ids)
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Now()
	for days, want := range map[int]bool{365: false, 122: false, 121: true, -1: true} {
		if got := Due(now.Add(time.Duration(days)*24*time.Hour), now); got != want {
			t.Errorf("%d days left: %v", days, got)
		}
	}
}
