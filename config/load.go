package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/nestedoci/nested/remotes/auth"
)

// Load reads a file; see [Parse].
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads a file's bytes over the defaults, and checks the values. All
// unknown keys are reported with their position, or all values that cannot be
// used.
func Parse(name string, data []byte) (*Config, error) {
	c := Default()
	raw := struct {
		*Config
		Credentials rawCredentials `toml:"credentials"`
		Gateway     rawGateway     `toml:"gateway"`
	}{&c, rawCredentials{&c.Credentials, ""}, rawGateway{Gateway: &c.Gateway}}
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&raw)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		return nil, fmt.Errorf("%s: unknown keys:\n%s", name, unknown.String())
	case errors.As(err, &wrong):
		row, column := wrong.Position()
		return nil, fmt.Errorf("%s:%d:%d: %w", name, row, column, wrong)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	err = errors.Join(
		duration("credentials.helper_timeout", raw.Credentials.HelperTimeout, &c.Credentials.HelperTimeout),
		duration("gateway.upstream_timeout", raw.Gateway.UpstreamTimeout, &c.Gateway.UpstreamTimeout),
		duration("gateway.trail_max_age", raw.Gateway.TrailMaxAge, &c.Gateway.TrailMaxAge),
		duration("gateway.grace", raw.Gateway.Grace, &c.Gateway.Grace),
		c.Check(),
	)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &c, nil
}

// rawCredentials and rawGateway take durations as TOML has them, as text.
type rawCredentials struct {
	*Credentials
	HelperTimeout string `toml:"helper_timeout"`
}

type rawGateway struct {
	*Gateway
	UpstreamTimeout string `toml:"upstream_timeout"`
	TrailMaxAge     string `toml:"trail_max_age"`
	Grace           string `toml:"grace"`
}

func duration(key, text string, to *time.Duration) error {
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return fmt.Errorf("%s = %.64q: not a duration such as 30s", key, text)
	}
	*to = d
	return nil
}

// Check applies the rules between values, and returns all that are broken.
func (c *Config) Check() error {
	g := c.Gateway
	var errs []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	rule(c.Version == 1, "version = %d: this program knows version 1", c.Version)
	rule(modes[g.Mode] != 0, "gateway.mode = %.64q: must be node or pod", g.Mode)
	rule(len(g.Registries) > 0, "gateway.registries is missing: name the registries to serve")
	for _, r := range g.Registries {
		parsed, err := auth.ParseRepository(r + "/x")
		rule(err == nil && parsed.Host() == r, "gateway.registries: %.64q is not a registry, host or host:port", r)
	}
	rule(isLoopback(g.Address), "gateway.address = %.64q: must be a loopback address and a port", g.Address)
	rule(g.MetricsAddress == "" || isLoopback(g.MetricsAddress), "gateway.metrics_address = %.64q: must be a loopback address and a port", g.MetricsAddress)
	rule(g.Redirects == "pass" || g.Redirects == "follow", "gateway.redirects = %.64q: must be pass or follow", g.Redirects)
	rule(g.UpstreamTimeout > 0 && g.UpstreamTimeout < 30*time.Second, "gateway.upstream_timeout = %s: must be less than containerd's 30s", g.UpstreamTimeout)
	for key, path := range map[string]string{"certificate": g.Certificate, "client_ca": g.ClientCA, "hosts_dir": g.HostsDir, "state_dir": g.StateDir} {
		rule(filepath.IsAbs(path), "gateway.%s = %.64q: must be an absolute path", key, path)
	}
	rule(filepath.Clean(g.HostsDir) != "/etc/containerd/certs.d", "gateway.hosts_dir: containerd's own directory leads back to the gateway; use another")
	_, err := g.patterns()
	errs = append(errs, err)
	return errors.Join(errs...)
}

func isLoopback(hostport string) bool {
	address, err := netip.ParseAddrPort(hostport)
	if err == nil {
		return address.Addr().IsLoopback()
	}
	host, _, err := net.SplitHostPort(hostport)
	return err == nil && host == "localhost"
}
