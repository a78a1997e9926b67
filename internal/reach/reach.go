// Package reach classifies addresses by how public they are, and says what can
// be known about a host from its name alone. It decides whether a stranger may
// send a client to a host: [Of] an address, before connecting to it; package
// auth does so for names.
package reach

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Reach is how public an address is.
type Reach int32

const (
	Unknown Reach = iota // a name
	Public               // globally reachable, unicast
	Private
	Loopback
	Never // link-local, multicast, and the addresses of clouds' metadata services
)

// Of returns how public an address is. Public is what the IANA's registries of
// special-purpose addresses (RFC 6890) call globally reachable, and unicast. An
// address with an embedded IPv4 address, which a gateway on the way extracts,
// is at most as public as that.
func Of(ip netip.Addr) Reach {
	ip = ip.Unmap().WithZone("") // a prefix contains no address with a zone
	r := ownReach(ip)
	for _, held := range heldIn(ip) {
		r = max(r, ownReach(held))
	}
	return r
}

// ownReach ignores embedded addresses.
func ownReach(ip netip.Addr) Reach {
	switch {
	case contains(metadata, ip), ip.IsLinkLocalUnicast(), ip.IsMulticast():
		return Never
	case ip.IsLoopback(), ip == netip.IPv6Unspecified(), thisNetwork.Contains(ip):
		return Loopback
	case contains(reachable, ip):
		return Public
	case ip.Is4() && !contains(special, ip), ip.Is6() && globalUnicast.Contains(ip) && !contains(special, ip):
		return Public
	}
	return Private
}

func contains(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

func prefixes(texts ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		parsed[i] = netip.MustParsePrefix(text)
	}
	return parsed
}

var (
	thisNetwork   = netip.MustParsePrefix("0.0.0.0/8") // Linux connects 0.0.0.0 to itself
	globalUnicast = netip.MustParsePrefix("2000::/3")  // all that is allocated of it, RFC 4291

	// special are what the IANA's registries do not call globally reachable,
	// besides what the standard library knows.
	special = prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"100.64.0.0/10",   // carriers' NAT, RFC 6598
		"192.0.0.0/24",    // protocol assignments, RFC 6890
		"192.88.99.0/24",  // 6to4 relays, RFC 7526
		"198.18.0.0/15",   // benchmarks, RFC 2544
		"192.0.2.0/24",    // documentation, RFC 5737
		"198.51.100.0/24", // likewise
		"203.0.113.0/24",  // likewise
		"240.0.0.0/4",     // reserved, RFC 1112, and broadcast
		"2001::/23",       // protocol assignments, Teredo among them, RFC 2928
		"2001:db8::/32",   // documentation, RFC 3849
		"2002::/16",       // 6to4, RFC 3056
		"3fff::/20",       // documentation, RFC 9637
	)
	// reachable are exceptions from special.
	reachable = prefixes(
		"192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", // anycast of PCP and TURN
		"2001:1::3/128", "2001:3::/32", "2001:4:112::/48", // DNS-SD, AMT, AS112
		"2001:20::/28", "2001:30::/28", // ORCHIDv2, drones
		"64:ff9b::/96", // NAT64, RFC 6052: what it holds counts
	)
	// metadata are where clouds have the services that give machines, and
	// everybody who can reach them, their keys. Other clouds have them at
	// link-local addresses.
	metadata = prefixes(
		"fd00:ec2::/32",          // AWS
		"fd20:ce::254/128",       // Google
		"100.100.100.200/32",     // Alibaba
		"168.63.129.16/32",       // Azure
		"192.0.0.192/32",         // Oracle
		"fd00:c1::a9fe:a9fe/128", // likewise
		"fd00:42::42/128",        // Scaleway
	)

	nat64       = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local  = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour   = netip.MustParsePrefix("2002::/16")
	teredo      = netip.MustParsePrefix("2001::/32")       // RFC 4380
	compatible  = netip.MustParsePrefix("::/96")           // RFC 4291, section 2.5.5.1
	translated  = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
	isatapPart  = [4]byte{0, 0, 0x5e, 0xfe}                // RFC 5214, section 6.1
	isatapOuter = [4]byte{2, 0, 0x5e, 0xfe}                // likewise, of an address that is unique
)

// heldIn returns the IPv4 addresses that are embedded in an IPv6 address.
func heldIn(ip netip.Addr) []netip.Addr {
	if !ip.Is6() {
		return nil
	}
	b := ip.As16()
	at := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	last := at(12, 13, 14, 15)
	switch {
	case nat64.Contains(ip), compatible.Contains(ip), translated.Contains(ip):
		return []netip.Addr{last}
	case nat64Local.Contains(ip): // nobody knows how long the prefix is; RFC 6052, section 2.2
		return withoutPadding(at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last)
	case sixToFour.Contains(ip):
		return []netip.Addr{at(2, 3, 4, 5)}
	case teredo.Contains(ip): // the server's, and the client's, whose bits are inverted
		return []netip.Addr{at(4, 5, 6, 7), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	}
	if part := [4]byte(b[8:12]); part == isatapPart || part == isatapOuter {
		return []netip.Addr{last}
	}
	return nil
}

// withoutPadding drops addresses that are only zeros around an address.
func withoutPadding(all ...netip.Addr) []netip.Addr {
	kept := all[:0]
	for _, ip := range all {
		if !thisNetwork.Contains(ip) {
			kept = append(kept, ip)
		}
	}
	return kept
}

// Hostname is the host of a URL as net/http resolves it: in lower case, and
// non-ASCII converted by IDNA, which turns full-width digits into digits.
func Hostname(u *url.URL) string {
	name := u.Hostname()
	if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		if ascii, err := idna.Lookup.ToASCII(name); err == nil {
			name = ascii
		}
	}
	return strings.ToLower(name)
}

// IsLocalhost reports whether a name is this machine's; RFC 6761, section 6.3.
func IsLocalhost(name string) bool {
	name = strings.TrimSuffix(name, ".")
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// EndsInNumber reports whether the last label of a name is a number, decimal,
// octal or hexadecimal, so that some programs read the name as an IPv4 address;
// WHATWG URL, section 3.5, "ends in a number".
func EndsInNumber(name string) bool {
	name = strings.TrimSuffix(name, ".")
	label := name[strings.LastIndexByte(name, '.')+1:]
	digits, hexadecimal := strings.CutPrefix(strings.ToLower(label), "0x")
	if hexadecimal {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}
