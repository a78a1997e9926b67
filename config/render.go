package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Render returns the configuration as a complete file with a comment for each
// key, which [Parse] reads back. Keys without a value, and those that the mode
// excludes, are comments. Of [gateway] and [serve] it has those that are used;
// of defaults it has both, with [serve] as comments.
func (c *Config) Render() string {
	var b strings.Builder
	if c.uses("gateway") {
		b.WriteString("# The configuration of nested's gateway. Only mode and registries are required.\n")
		b.WriteString("# `nestctl config check` checks the file; `systemctl reload nested-gateway` reads the file again.\n")
	} else {
		b.WriteString("# The configuration of nestctl serve. Only certificate and registries are required.\n")
		b.WriteString("# `nestctl config check` checks the file; `systemctl reload nested-serve` reads the file again.\n")
	}
	if reflect.DeepEqual(c, defaults()) {
		b.WriteString("# `nestctl serve` needs [serve], at the end of this file, and not [gateway]: remove that one when it is not used.\n")
	}
	c.renderTable(&b, reflect.ValueOf(c).Elem(), "")
	return b.String()
}

// leftOutSection reports whether a section is not to be rendered.
func (c *Config) leftOutSection(name string) bool {
	return name == "gateway" && !c.uses(name) || name == "serve" && !c.uses(name) && !reflect.DeepEqual(c, defaults())
}

func (c *Config) renderTable(b *strings.Builder, v reflect.Value, prefix string) {
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("toml")
		if c.leftOutSection(name) {
			continue
		}
		if i > 0 || prefix == "" {
			b.WriteString("\n")
		}
		if v.Field(i).Kind() == reflect.Struct {
			fmt.Fprintf(b, "[%s]\n", name)
			c.renderTable(b, v.Field(i), name+".")
			continue
		}
		for _, line := range fold(comments()[prefix+name], 118) {
			fmt.Fprintf(b, "# %s\n", line)
		}
		text := tomlText(v.Field(i))
		if example := c.leftOut(prefix + name); example != "" {
			name, text = "# "+name, example
		}
		fmt.Fprintf(b, "%s = %s\n", name, text)
	}
}

// leftOut is the comment in place of a key.
func (c *Config) leftOut(key string) string {
	switch {
	case key == "gateway.mode" && c.Gateway.Mode == "":
		return `"node"`
	case key == "gateway.registries" && len(c.Gateway.Registries) == 0:
		return `["registry.example.com"]`
	case key == "credentials.docker_config" && (c.Gateway.Mode == "pod" || !c.uses("gateway")):
		return tomlText(reflect.ValueOf(c.Credentials.DockerConfig))
	case !strings.HasPrefix(key, "serve.") || c.uses("serve"):
		return ""
	case key == "serve.certificate":
		return `"/etc/nested/tls/serve.pem"`
	case key == "serve.registries":
		return `["bundles.example.com=registry.example.com"]`
	}
	return tomlText(reflect.ValueOf(c.get(key)))
}

// tomlText is a value as TOML.
func tomlText(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return tomlString(durationText(value))
	case string:
		return tomlString(value)
	case []string:
		return tomlStrings(value)
	}
	return fmt.Sprint(v.Interface())
}

// tomlString quotes a string. [strconv.Quote] uses escapes that TOML does not
// have.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func tomlStrings(all []string) string {
	list := make([]string, len(all))
	for i, s := range all {
		list[i] = tomlString(s)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// durationText is a duration without the trailing zeros of
// [time.Duration.String].
func durationText(d time.Duration) string {
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

// fold wraps a text.
func fold(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
