package config

import (
	"cmp"
	"path/filepath"
	"reflect"
	"strings"
)

// Flags are values of the section [serve] that a command line gives. They win
// over those of a file. A flag is called as its key, with - for _, and lists by
// one of their elements: --seal-key.
type Flags struct {
	// Serve has the values.
	Serve Serve
	// Given reports whether a flag was given; nil: none was.
	Given func(name string) bool
}

// flagOf is the flag for a key; empty: there is none.
func flagOf(key string) string {
	name, ok := strings.CutPrefix(key, "serve.")
	if !ok {
		return ""
	}
	one := map[string]string{"registries": "registry", "seal_keys": "seal-key", "proxies": "proxy"}
	return strings.ReplaceAll(cmp.Or(one[name], name), "_", "-")
}

// override sets the values that flags give. Paths of flags are relative to the
// working directory.
func (d *decoder) override() {
	given := reflect.ValueOf(d.purpose.flags.Serve)
	for _, name := range names(given.Type()) {
		if key := "serve." + name; d.isGiven(key) {
			field(reflect.ValueOf(&d.config.Serve).Elem(), name).Set(field(given, name))
			d.places[key] = place{}
			delete(d.bad, key)
		}
	}
	s := &d.config.Serve
	for key, path := range map[string]*string{"serve.certificate": &s.Certificate, "serve.hosts_dir": &s.HostsDir} {
		if d.isGiven(key) && *path != "" {
			*path = absolute(*path)
		}
	}
	if d.isGiven("serve.seal_keys") {
		s.SealKeys = nil // not the slice of the flags
		for _, path := range d.purpose.flags.Serve.SealKeys {
			s.SealKeys = append(s.SealKeys, absolute(path))
		}
	}
}

// absolute returns an absolute path, or the one it is given where the working
// directory is gone.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (d *decoder) isGiven(key string) bool {
	given := d.purpose.flags.Given
	return given != nil && given(flagOf(key))
}

// isFlag reports whether a key is one of a flag in the eyes of whoever gave the
// configuration.
func (d *decoder) isFlag(key string) bool {
	return flagOf(key) != "" && (d.isGiven(key) || d.name == "" && d.purpose.flags.Given != nil)
}

// asFlags is a text about keys in terms of flags.
func (d *decoder) asFlags(text string) string {
	var pairs []string
	for _, name := range names(reflect.TypeFor[Serve]()) {
		if key := "serve." + name; d.isFlag(key) {
			pairs = append(pairs, key, "--"+flagOf(key))
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
