package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Hosts is the content of a hosts.toml, as containerd understands it.
type Hosts struct {
	Hosts []Host // in the order in which they are tried
	// Server is tried last. Without a URL it is the registry itself, with
	// containerd's defaults.
	Server Host
}

// Host is an entry of a hosts.toml. Relative file names are relative to its
// directory.
type Host struct {
	URL          string
	Capabilities []string // in lower case; none means all
	CA           []string
	Client       [][2]string // certificate and key; no key: it is in the certificate's file
	SkipVerify   bool
	OverridePath bool // requests have no /v2 but the URL's
	Plain        bool // the file has nothing about the host but its URL, not even an empty setting
}

// hostTable is containerd's hostFileConfig.
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

// ParseHosts reads a hosts.toml. What containerd would not accept is an error
// with its position; containerd itself would go on without the file.
func ParseHosts(name string, text []byte) (Hosts, error) {
	var file struct {
		hostTable
		Server *string              `toml:"server"`
		Hosts  map[string]hostTable `toml:"host"`
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return Hosts{}, TOMLError(name, err)
	}
	var hosts Hosts
	for _, url := range hostOrder(text) {
		h, err := file.Hosts[url].host(url)
		if err != nil {
			return Hosts{}, fmt.Errorf("%s: host %q: %w", name, withoutSecrets(url), err)
		}
		hosts.Hosts = append(hosts.Hosts, h)
	}
	var server string
	if file.Server != nil {
		server = *file.Server
	}
	var err error
	if hosts.Server, err = file.host(server); err != nil {
		return Hosts{}, fmt.Errorf("%s: server: %w", name, err)
	}
	hosts.Server.Plain = hosts.Server.Plain && (server != "" || file.Server == nil)
	return hosts, nil
}

// Render returns the hosts.toml. A URL with a path is the root of a host's API.
func (h Hosts) Render() []byte {
	var text strings.Builder
	if h.Server.URL != "" {
		fmt.Fprintf(&text, "server = %s\n%s", tomlString(h.Server.URL), h.Server.settings(""))
	}
	for _, host := range h.Hosts {
		fmt.Fprintf(&text, "\n[host.%s]\n%s", tomlString(host.URL), host.settings("  "))
	}
	return []byte(text.String())
}

// settings are the lines of a host's table, apart from its URL.
func (h Host) settings(indent string) string {
	var text strings.Builder
	line := func(key, value string, isSaid bool) {
		if isSaid {
			text.WriteString(indent + key + " = " + value + "\n")
		}
	}
	var pairs []string
	for _, pair := range h.Client {
		if pair[1] == "" {
			pairs = append(pairs, tomlString(pair[0]))
		} else {
			pairs = append(pairs, tomlStrings(pair[:]))
		}
	}
	line("capabilities", tomlStrings(h.Capabilities), len(h.Capabilities) > 0)
	line("ca", tomlStrings(h.CA), len(h.CA) > 0)
	line("client", "["+strings.Join(pairs, ", ")+"]", len(pairs) > 0)
	line("skip_verify", "true", h.SkipVerify)
	line("override_path", "true", h.OverridePath || strings.Count(h.URL, "/") > 2)
	return text.String()
}

// TOMLError adds the position to a TOML error. The text is shown without the
// users of URLs and without values: a hosts.toml has passwords in its headers,
// and containerd's configuration has those of registries.
func TOMLError(name string, err error) error {
	text := withoutSecrets(err.Error()) // not wrapped: the cause quotes the file
	var bad *toml.DecodeError
	if !errors.As(err, &bad) {
		return fmt.Errorf("%s: %s", name, text)
	}
	line, column := bad.Position()
	return fmt.Errorf("%s:%d:%d: %s", name, line, column, text)
}

var (
	usersOfURLs = regexp.MustCompile(`//[^/\s]*@`)
	values      = regexp.MustCompile(`: strconv\.\w+: parsing .*`) // go-toml quotes invalid fractions
)

func withoutSecrets(text string) string {
	return values.ReplaceAllString(usersOfURLs.ReplaceAllString(text, "//"), "")
}

// hostOrder lists the host tables in the order of the file, as containerd does.
func hostOrder(text []byte) []string {
	var urls []string
	for e := range expressions(text) {
		if e.Kind != unstable.Table {
			continue
		}
		if key := keyOf(e); len(key) > 1 && key[0] == "host" && !slices.Contains(urls, key[1]) {
			urls = append(urls, key[1])
		}
	}
	return urls
}

// host checks a table as containerd does.
func (t hostTable) host(url string) (Host, error) {
	h := Host{URL: url, SkipVerify: t.SkipVerify != nil && *t.SkipVerify, OverridePath: t.OverridePath}
	for _, c := range t.Capabilities {
		if !slices.Contains([]string{"pull", "resolve", "push", "referrers"}, strings.ToLower(c)) {
			return Host{}, fmt.Errorf("capability %q: containerd knows pull, resolve, push and referrers", c)
		}
		h.Capabilities = append(h.Capabilities, strings.ToLower(c))
	}
	var err error
	if h.CA, err = stringsOf("ca", t.CA); err != nil {
		return Host{}, err
	}
	if h.Client, err = pairsOf(t.Client); err != nil {
		return Host{}, err
	}
	h.Plain = t.Capabilities == nil && t.CA == nil && t.Client == nil && t.SkipVerify == nil &&
		t.Header == nil && !t.OverridePath && t.DialTimeout == ""
	return h, nil
}

// stringsOf reads a string or a list of strings.
func stringsOf(key string, value any) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		all := make([]string, len(v))
		for i, element := range v {
			s, ok := element.(string)
			if !ok {
				return nil, fmt.Errorf("%s: must be a file or a list of files", key)
			}
			all[i] = s
		}
		return all, nil
	}
	return nil, fmt.Errorf("%s: must be a file or a list of files", key)
}

// pairsOf reads client: a file, or a list of files and of pairs of files.
func pairsOf(value any) ([][2]string, error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var pairs [][2]string
	for _, element := range list {
		files, err := stringsOf("client", element)
		_, isPair := element.([]any)
		switch {
		case err != nil:
			return nil, err
		case isPair && len(files) != 2:
			return nil, errors.New("client: a pair is a certificate and its key")
		case len(files) == 2:
			pairs = append(pairs, [2]string(files))
		case len(files) == 1:
			pairs = append(pairs, [2]string{files[0]})
		}
	}
	return pairs, nil
}
