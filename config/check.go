package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/gateway"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// ContainerdCerts is the directory in which containerd looks for the hosts.toml
// files of registries, and so finds the gateway, unless its config_path names
// another.
const ContainerdCerts = "/etc/containerd/certs.d"

// SystemDir returns a directory in /etc as the default on a system, as in runtime.GOOS: none on Windows, where that would
// be on the current drive, and any user can make it.
func SystemDir(goos, dir string) string {
	if goos == "windows" {
		return ""
	}
	return dir
}

// Check applies the rules for values. The error is an [*Error] with all that
// are broken.
func (c *Config) Check() error {
	r := rules{
		given: func(key string) bool { return !reflect.DeepEqual(c.get(key), defaults().get(key)) },
		bad:   func(string) bool { return false },
		uses:  c.uses,
	}
	r.all(c)
	return r.problems.err()
}

func defaults() *Config {
	c := Default()
	return &c
}

// get returns the value of an existing key.
func (c *Config) get(key string) any {
	v := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(key, ".") {
		v = field(v, name)
	}
	return v.Interface()
}

// check applies the rules to what was read, and records where each is broken.
func (d *decoder) check() {
	r := rules{
		given: func(key string) bool { _, ok := d.places[key]; return ok },
		bad: func(key string) bool {
			table, _, _ := strings.Cut(key, ".")
			return d.bad[key] || d.bad[table]
		},
		uses: d.uses,
	}
	r.all(&d.config)
	for _, p := range r.problems.first {
		d.locate(p)
	}
	d.problems.more += r.problems.more
}

// locate records a problem at the value of its key, or at the key's table when
// there is no value. What a flag has set is wrong there.
func (d *decoder) locate(p Problem) {
	if d.isFlag(p.Key) {
		p.Wrong, p.Fix = d.asFlags(p.Wrong), d.asFlags(p.Fix)
		d.problems.add(p)
		return
	}
	here, ok := d.places[p.Key]
	if !ok {
		table, _, _ := strings.Cut(p.Key, ".")
		here = d.places[table]
	}
	offset := here.offset
	if p.element > 0 && p.element <= len(here.elements) {
		offset = here.elements[p.element-1]
	}
	d.problem(p.Key, offset, p.Wrong, p.Fix)
}

// rules collects what is wrong with values.
type rules struct {
	given    func(key string) bool // whether the file sets it
	bad      func(key string) bool // whether its value is already known to be wrong
	uses     func(section string) bool
	problems problems
}

// uses reports whether a section of the file is to be checked.
func (d *decoder) uses(section string) bool {
	return uses(section, func(section string) bool {
		for key := range d.places {
			if strings.HasPrefix(key, section+".") {
				return true
			}
		}
		return d.purpose.section == section
	})
}

// uses is that of a file, for values that come from none.
func (c *Config) uses(section string) bool {
	return uses(section, func(section string) bool { return !reflect.DeepEqual(c.get(section), defaults().get(section)) })
}

// uses reports whether a section is to be checked: one that is there, or that
// the file is read for. When that is none, the file is the gateway's.
func uses(section string, has func(section string) bool) bool {
	return has(section) || section == "gateway" && !has("serve")
}

func (r *rules) all(c *Config) {
	r.rule(c.Version == 1, "version", c.Version, "must be 1, the version that this program knows")
	r.oneOf("log.level", c.Log.Level, "error", "warn", "info", "debug")
	r.oneOf("log.format", c.Log.Format, "text", "json")
	r.credentials(c)
	r.nested(c.Nested)
	if r.uses("gateway") {
		r.served(c.Gateway)
		r.reached(c.Gateway)
		r.bounds(c.Gateway)
		r.memory("gateway.max_memory", c.Gateway.MaxMemory)
	}
	if r.uses("serve") {
		r.serve(c.Serve)
	}
}

func (r *rules) credentials(c *Config) {
	const files, timeout = "credentials.docker_config", "credentials.helper_timeout"
	r.each(files, c.Credentials.DockerConfig, filepath.IsAbs, "must be absolute paths")
	if who := r.excludesStores(c); who != "" && r.given(files) {
		r.add(files, 0, files+" contradicts "+who, "remove it: the callers' credentials are used")
	}
	const providers, dir = "credentials.kubelet_credential_providers", "credentials.kubelet_credential_provider_dir"
	isPath := func(path string) bool { return path == "" || filepath.IsAbs(path) }
	r.rule(isPath(c.Credentials.KubeletProviders), providers, c.Credentials.KubeletProviders, "must be an absolute path")
	r.rule(isPath(c.Credentials.KubeletProviderDir), dir, c.Credentials.KubeletProviderDir, "must be an absolute path")
	if (c.Credentials.KubeletProviders == "") != (c.Credentials.KubeletProviderDir == "") {
		r.add(providers, 0, providers+" and "+dir+" go together", "give both, as the kubelet has them, or neither")
	}
	if who := r.excludesStores(c); who != "" && c.Credentials.KubeletProviders != "" {
		r.add(providers, 0, providers+" contradicts "+who, "remove it: the callers' credentials are used")
	}
	r.rule(c.Credentials.HelperTimeout > 0, timeout, c.Credentials.HelperTimeout, "must be more than 0s")
	r.each("credentials.realms", c.Credentials.Realms, isHost, "must be host or host:port, without https://")
}

// excludesStores is what keeps the machine's credentials from being used; empty:
// nothing.
func (r *rules) excludesStores(c *Config) string {
	switch {
	case c.Gateway.Mode == "pod":
		return `gateway.mode "pod"`
	case !r.uses("gateway"):
		return "[serve] alone"
	}
	return ""
}

func (r *rules) nested(n Nested) {
	for _, keys := range []struct {
		key  string
		list []string
	}{{"nested.annotations", n.Annotations}, {"nested.properties", n.Properties}} {
		r.each(keys.key, keys.list, isPrintable, "must be names of printable characters")
	}
	if len(n.Annotations)+len(n.Properties) == 0 && !r.bad("nested.annotations") && !r.bad("nested.properties") {
		r.add("nested.annotations", 0, "nested.annotations and nested.properties are empty", "one of them must have a name")
	}
}

// served are the rules about what is served, and to which clients.
func (r *rules) served(g Gateway) {
	const registries, allow = "gateway.registries", "gateway.allow"
	r.oneOf("gateway.mode", g.Mode, "node", "pod")
	r.rule(len(g.Registries) > 0, registries, "empty", "name the registries to serve, host or host:port")
	r.each(registries, g.Registries, isRegistry, "must be host or host:port, as references name it")
	r.each(allow, g.Allow, isPattern, patternForm)
	if len(g.Registries) == 0 || r.bad(registries) {
		return
	}
	known := func(pattern string) bool {
		registry, _, _ := strings.Cut(pattern, "/")
		return slices.Contains(g.Registries, registry) || !isPattern(pattern)
	}
	r.each(allow, g.Allow, known, "its registry must be one of "+registries)
}

// reached are the rules about addresses and directories.
func (r *rules) reached(g Gateway) {
	const loopback = "must be a loopback address and a port"
	r.rule(isLoopback(g.Address), "gateway.address", g.Address, loopback)
	r.rule(g.MetricsAddress == "" || isLoopback(g.MetricsAddress), "gateway.metrics_address", g.MetricsAddress, loopback)
	r.rule(!collide(g.Address, g.MetricsAddress), "gateway.metrics_address", g.MetricsAddress, "must differ from gateway.address")
	for _, path := range []struct{ key, value string }{
		{"gateway.certificate", g.Certificate},
		{"gateway.client_ca", g.ClientCA},
		{"gateway.hosts_dir", g.HostsDir},
		{"gateway.state_dir", g.StateDir},
	} {
		r.rule(filepath.IsAbs(path.value), path.key, path.value, "must be an absolute path")
	}
	r.rule(!overlap(g.HostsDir, ContainerdCerts), "gateway.hosts_dir", g.HostsDir,
		"must be outside of containerd's "+ContainerdCerts+", which leads back to the gateway")
}

func (r *rules) bounds(g Gateway) {
	r.rule(g.UpstreamTimeout > 0 && g.UpstreamTimeout < 30*time.Second,
		"gateway.upstream_timeout", g.UpstreamTimeout, "must be more than 0s and less than containerd's 30s")
	r.rule(g.Prefetch >= 0 && g.Prefetch <= 1024, "gateway.prefetch", g.Prefetch, "must be at least 0 and at most 1024")
	r.rule(g.Grace >= 0, "gateway.grace", g.Grace, "must not be negative")
}

// memory is the rule for the budget: below it, a manifest or index of the
// maximum size could never be read.
func (r *rules) memory(key string, bytes int) {
	r.rule(bytes >= find.LeastMemory, key, bytes, fmt.Sprintf("must be at least %d", find.LeastMemory))
}

func (r *rules) add(key string, element int, wrong, fix string) {
	r.problems.add(Problem{Key: key, Wrong: wrong, Fix: fix, element: element})
}

// rule records a value that breaks a rule.
func (r *rules) rule(ok bool, key string, value any, fix string) {
	if ok || r.bad(key) {
		return
	}
	is := fmt.Sprint(value)
	switch v := value.(type) {
	case string:
		if v != "empty" {
			is = quote(v)
		}
	case time.Duration:
		is = quote(durationText(v))
	}
	if !r.given(key) {
		is = "missing"
	}
	r.add(key, 0, key+" is "+is, fix)
}

func (r *rules) oneOf(key, value string, allowed ...string) {
	last := len(allowed) - 1
	r.rule(slices.Contains(allowed, value), key, value, "must be "+strings.Join(allowed[:last], ", ")+" or "+allowed[last])
}

// each records the elements of a list that break a rule.
func (r *rules) each(key string, list []string, ok func(string) bool, fix string) {
	for i, s := range list {
		if !ok(s) {
			r.add(key, i+1, key+" has "+quote(s)+" in it", fix)
		}
	}
}

func isPrintable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func isRegistry(s string) bool {
	r, err := auth.ParseRepository(s + "/x")
	return err == nil && r.Host() == s
}

const patternForm = "must be registry/path with names of repositories, * or ** between slashes"

func isPattern(s string) bool {
	_, err := gateway.ParsePattern(s)
	return err == nil
}

var hostPort = regexp.MustCompile(`^(?:[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]+))?$`)

// isHost reports whether a string is host or host:port.
func isHost(s string) bool {
	parts := hostPort.FindStringSubmatch(s)
	if parts == nil || parts[2] != "" && !isPort(parts[2]) {
		return false
	}
	_, err := netip.ParseAddr(parts[1])
	return parts[1] == "" || err == nil
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && n <= math.MaxUint16
}

func isLoopback(hostport string) bool {
	if address, err := netip.ParseAddrPort(hostport); err == nil {
		return address.Addr().IsLoopback()
	}
	host, port, err := net.SplitHostPort(hostport)
	return err == nil && host == "localhost" && isPort(port)
}

// collide reports whether two addresses cannot both be listened on. Port 0 is
// any free port.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	both := func(host string) bool { return hostA == host || hostB == host }
	return hostA == hostB || both("localhost") || both("")
}

// overlap reports whether one directory is the other, or is inside it.
func overlap(a, b string) bool {
	in := func(a, b string) bool {
		way, err := filepath.Rel(a, b)
		return err == nil && way != ".." && !strings.HasPrefix(way, ".."+string(filepath.Separator))
	}
	return in(a, b) || in(b, a)
}
