package config

import (
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/nestedoci/nested/internal/trust"
	"github.com/nestedoci/nested/remotes/auth"
)

// Plugin is the section [plugins."io.containerd.internal.v1.nested"] of
// containerd's own configuration (docs/containerd.md). It has the keys of
// [Credentials] and [Nested], in no table of their own.
type Plugin struct {
	Credentials
	Nested
	// The repositories whose indexes are followed, with all below them: registry/path, where * stands for one component
	// and ** for one or more. Empty: all.
	Allow []string `toml:"allow"`
	// Which members that fit the platform are pulled: "all", or "platform": the one that containerd would run.
	Members string `toml:"members"`
	// The containerd namespaces in which members get image records; with ! before them, those in which they get none.
	MemberRecords []string `toml:"member_records"`
	// What containerd's image verifiers are asked about: "all": the root, then each member. "root": the root alone.
	Verify string `toml:"verify"`
}

// DefaultPlugin is the meaning of an empty section.
func DefaultPlugin() Plugin {
	c := Default()
	c.Credentials.DockerConfig = []string{} // plain pulls must not change
	return Plugin{
		Credentials:   c.Credentials,
		Nested:        c.Nested,
		Allow:         []string{},
		Members:       "all",
		MemberRecords: []string{"!k8s.io"},
		Verify:        "all",
	}
}

// Table is the section as TOML decodes it.
func (p Plugin) Table() map[string]any {
	table := map[string]any{}
	root := reflect.ValueOf(p)
	for _, key := range names(root.Type()) {
		value := field(root, key).Interface()
		if d, ok := value.(time.Duration); ok {
			value = durationText(d)
		}
		table[key] = value
	}
	return table
}

// ParsePlugin reads the section over the defaults, and checks the values and
// who may write the files that they name. docker_config may be one path, and a
// path may be a directory with a config.json. The error is an [*Error] with
// everything that is wrong, without positions: only containerd knows them.
func ParsePlugin(table map[string]any) (*Plugin, error) {
	text, err := toml.Marshal(onePath(table))
	if err != nil {
		return nil, err
	}
	p := DefaultPlugin()
	d := newDecoder("", text)
	d.root, d.lists = reflect.ValueOf(&p).Elem(), "docs/containerd.md lists the keys"
	d.walk()
	r := rules{
		given: func(key string) bool { _, ok := table[withoutTable.Replace(key)]; return ok },
		bad:   func(key string) bool { return d.bad[withoutTable.Replace(key)] },
		uses:  func(string) bool { return true },
	}
	r.plugin(&p)
	found := d.problems
	found.addAll(r.problems)
	for i := range found.first {
		at := &found.first[i]
		at.Line, at.Column = 0, 0
		at.Key, at.Wrong = withoutTable.Replace(at.Key), withoutTable.Replace(at.Wrong)
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	return &p, nil
}

var withoutTable = strings.NewReplacer("credentials.", "", "nested.", "")

// onePath accepts a docker_config that is one path in place of a list.
func onePath(table map[string]any) map[string]any {
	one, ok := table["docker_config"].(string)
	if !ok {
		return table
	}
	listed := maps.Clone(table)
	listed["docker_config"] = []string{one}
	return listed
}

var namespacePattern = regexp.MustCompile(`^!?[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$`)

// plugin are the rules for the section, and for the files that it names.
func (r *rules) plugin(p *Plugin) {
	r.credentials(&Config{Credentials: p.Credentials})
	r.nested(p.Nested)
	r.each("allow", p.Allow, isPattern, patternForm)
	r.oneOf("members", p.Members, "all", "platform")
	r.oneOf("verify", p.Verify, "all", "root")
	r.each("member_records", p.MemberRecords, namespacePattern.MatchString, "must be namespaces of containerd, with or without a ! in front")
	if path := p.KubeletProviders; filepath.IsAbs(path) {
		var bad *Error
		if errors.As(CheckFile(path), &bad) {
			r.add("kubelet_credential_providers", 0, "kubelet_credential_providers: "+trust.Shown(bad.Problems[0].File)+" "+bad.Problems[0].Wrong, bad.Problems[0].Fix)
		}
	}
	for i, path := range p.DockerConfig {
		var bad *Error
		if filepath.IsAbs(path) && errors.As(CheckDocker(path), &bad) {
			r.add("docker_config", i+1, "docker_config: "+trust.Shown(bad.Problems[0].File)+" "+bad.Problems[0].Wrong, bad.Problems[0].Fix)
		}
	}
}

// Allows reports whether the indexes of a repository are followed.
func (p *Plugin) Allows(repository auth.Repository) bool {
	allow, err := patterns(p.Allow)
	if err != nil {
		return false // checked before
	}
	for _, pattern := range allow {
		if pattern.Match(repository) {
			return true
		}
	}
	return len(allow) == 0
}

// Records reports whether members get image records in a namespace of
// containerd's.
func (p *Plugin) Records(namespace string) bool {
	only := false
	for _, entry := range p.MemberRecords {
		switch {
		case entry == "!"+namespace:
			return false
		case entry == namespace:
			return true
		case !strings.HasPrefix(entry, "!"):
			only = true
		}
	}
	return !only
}
