package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// serve are the rules for the section [serve].
func (r *rules) serve(s Serve) {
	r.fronts(s)
	r.rule(s.Certificate != "", "serve.certificate", s.Certificate, certificateFix)
	if s.Certificate != "" {
		r.rule(filepath.IsAbs(s.Certificate), "serve.certificate", s.Certificate, "must be an absolute path")
	}
	r.each("serve.seal_keys", s.SealKeys, filepath.IsAbs, "must be absolute paths")
	r.rule(s.HostsDir == "" || filepath.IsAbs(s.HostsDir), "serve.hosts_dir", s.HostsDir, "must be an absolute path")
	r.rule(s.HostsDir == "" || !overlap(s.HostsDir, ContainerdCerts), "serve.hosts_dir", s.HostsDir,
		"must be outside of containerd's "+ContainerdCerts+", which may lead to a gateway with the machine's credentials")
	r.oneOf("serve.redirects", s.Redirects, "hand-on", "follow")
	const address = "must be host:port or :port"
	r.rule(isAddress(s.Listen), "serve.listen", s.Listen, address)
	r.rule(s.MetricsAddress == "" || isAddress(s.MetricsAddress), "serve.metrics_address", s.MetricsAddress, address)
	r.rule(!collide(s.Listen, s.MetricsAddress), "serve.metrics_address", s.MetricsAddress, "must differ from serve.listen")
	r.each("serve.proxies", s.Proxies, isPrefix, "must be addresses or ranges such as 10.0.0.0/8")
	r.rule(s.MaxRequests > 0, "serve.max_requests", s.MaxRequests, "must be at least 1")
	r.rule(s.MaxConnections >= 8 && s.MaxConnections <= 65536, "serve.max_connections", s.MaxConnections, "must be at least 8 and at most 65536")
	r.memory("serve.max_memory", s.MaxMemory)
	r.rule(s.UpstreamTimeout > 0 && s.UpstreamTimeout <= 10*time.Minute, "serve.upstream_timeout", s.UpstreamTimeout,
		"must be more than 0s and at most 10m")
	r.rule(s.Grace >= 0, "serve.grace", s.Grace, "must not be negative")
}

// fronts are the rules about what is served.
func (r *rules) fronts(s Serve) {
	const registries, allow = "serve.registries", "serve.allow"
	r.rule(len(s.Registries) > 0, registries, "empty", "name what to serve, such as bundles.example.com=registry.example.com")
	r.each(registries, s.Registries, isFront, "must be NAME=REGISTRY, each host or host:port, such as bundles.example.com=registry.example.com")
	seen := map[string]bool{}
	r.each(registries, s.Registries, func(front string) bool {
		name, _, ok := cutFront(front)
		twice := ok && seen[name]
		seen[name] = true
		return !twice
	}, "its name must be there once: there is one registry behind a name")
	r.each(allow, s.Allow, isPattern, patternForm)
	if len(s.Registries) == 0 || r.bad(registries) {
		return
	}
	behind := s.behind()
	r.each(allow, s.Allow, func(pattern string) bool {
		registry, _, _ := strings.Cut(pattern, "/")
		return slices.Contains(behind, registry) || !isPattern(pattern)
	}, "its registry must be one of those behind "+registries)
}

// cutFront reads NAME=REGISTRY. Names are the same in upper and lower case.
func cutFront(s string) (name, registry string, ok bool) {
	name, registry, _ = strings.Cut(s, "=")
	return strings.ToLower(name), registry, isHost(name) && isRegistry(registry)
}

func isFront(s string) bool {
	_, _, ok := cutFront(s)
	return ok
}

// isAddress reports whether a process could listen there.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port) {
		return false
	}
	_, err = netip.ParseAddr(host)
	return host == "" || err == nil || isHost(host)
}

func isPrefix(s string) bool {
	_, err := parsePrefix(s)
	return err == nil
}

// parsePrefix reads a range of addresses, or one address.
func parsePrefix(s string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(s); err == nil {
		return address.Prefix(address.BitLen())
	}
	return netip.ParsePrefix(s)
}
