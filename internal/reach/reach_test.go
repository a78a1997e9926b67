package reach

import (
	"net/netip"
	"strings"
	"testing"
)

// TestReach: how public addresses are, by the IANA's registries of special-purpose addresses.
func TestReach(t *testing.T) {
	t.Parallel()
	for want, addresses := range map[Reach]string{
		Public: "1.1.1.1 93.184.216.34 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.0 198.17.255.255 198.20.0.0 223.255.255.255 " +
			"192.0.0.9 192.0.0.10 169.253.255.255 11.0.0.0 128.0.0.1 " +
			"2606:4700::1 2001:4860:4860::8888 2001:200::1 3ffe::1 2620:4f:8000::1 2001:20::1 " +
			"::ffff:1.1.1.1 64:ff9b::1.1.1.1 2606:4700::200:5efe:101:101",
		Private: "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 " +
			"198.51.100.1 203.0.113.1 240.0.0.1 255.255.255.254 255.255.255.255 " +
			"fd00::1 fc00::1 fec0::1 feff::1 100::1 5f00::1 2001:db8::1 3fff::1 2001:2::1 2001:10::1 4000::1 1::1 64:ff9a::1 64:ff9b:2::1 " +
			"::ffff:10.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::1.1.1.1 64:ff9b:1::10.0.0.1 2002:101:101::1 2002:a00:1::1 ::1.1.1.1 ::10.0.0.1 ::ffff:0:1.1.1.1 ::ffff:0:10.0.0.1 " +
			"2001:0:101:101::fefe:fefe 2606:4700::5efe:a00:1 2606:4700::200:5efe:a00:1",
		Loopback: "127.0.0.1 127.255.255.255 0.0.0.0 0.1.2.3 ::1 :: ::ffff:127.0.0.1 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b:1::127.0.0.1 " +
			"64:ff9b:1:7f00:0:100:: 64:ff9b:1:7f:0:1:: 64:ff9b:1:0:7f:0:100:0 2002:7f00:1::1 2001:0:101:101::80ff:fffe 2001:0:7f00:1::fefe:fefe 2606:4700::5efe:7f00:1 ::1%lo 64:ff9b::0.0.0.0",
		Never: "169.254.169.254 169.254.170.2 169.254.170.23 100.100.100.200 168.63.129.16 192.0.0.192 224.0.0.1 239.255.255.255 " +
			"fe80::1 fe80::a9fe:a9fe%eth0 ff02::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42 " +
			"::ffff:169.254.169.254 ::169.254.169.254 ::ffff:0:169.254.169.254 64:ff9b::169.254.169.254 64:ff9b::100.100.100.200 64:ff9b:1::169.254.169.254 64:ff9b:1:a9fe:a9:fe00:: " +
			"2002:a9fe:a9fe::1 2001:0:101:101::5601:5601 2606:4700::5efe:a9fe:a9fe fd00:ec2::254%eth0",
	} {
		for text := range strings.FieldsSeq(addresses) {
			if got := Of(netip.MustParseAddr(text)); got != want {
				t.Errorf("%s: %d, want %d", text, got, want)
			}
		}
	}
}

// TestEndsInNumber: what some part of a system takes for an IPv4 address; WHATWG URL, section 3.5.
func TestEndsInNumber(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"127.0.0.1": true, "127.1": true, "2130706433": true, "0x7f.1": true, "0x7f000001": true, "0X7F.0X1": true, "017700000001": true,
		"1.2.3.08": true, "127.0.0.1.": true, "a.b.1": true, "a.0x": true, "a.0xfg": false, "1.2.3.4.5": true, "a.09": true,
		"reg.test": false, "reg.test.": false, "1.test": false, "0x7f.test": false, "x1": false, "1x": false, "": false, ".": false, "1..": false, "cafe": false,
	} {
		if got := EndsInNumber(name); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
}
