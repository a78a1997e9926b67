package sources

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nestedoci/nested/internal/pin"
	"github.com/nestedoci/nested/internal/usage"
)

// What a text may be.
const (
	Refs       = "refs"       // references, one a line
	Bake       = "bake"       // what buildx writes with --metadata-file
	Compose    = "compose"    // a Compose file, or what docker compose config prints
	Kubernetes = "kubernetes" // Kubernetes manifests, and rendered charts
)

// Formats are what a text may be, by name.
func Formats() []string { return []string{Refs, Bake, Compose, Kubernetes} }

// ByFormat avoids that a format is not recognised: Options.Format.
const ByFormat usage.Choice = "sources.Options.Format"

// plainText is a text without its byte order mark.
func plainText(t pin.Text) ([]byte, error) {
	text, _ := bytes.CutPrefix(t.Bytes, []byte("\ufeff"))
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New(t.Name + ": " + errNotText.Error())
	}
	return text, nil
}

// recognise says which format a text has, by its content alone.
func recognise(t pin.Text) (string, error) {
	var may []string
	var err error
	switch first := firstLine(t.Bytes); {
	case first == "":
		return Refs, nil // which has none
	case first[0] == '{':
		may, err = mayBeJSON(t)
	case isWord(first) && !isSeparator(first):
		return Refs, nil
	default:
		may, err = mayBeYAML(t)
	}
	if err != nil {
		return "", err
	}
	if len(may) != 1 {
		return "", unrecognised(t, may)
	}
	return may[0], nil
}

// unrecognised is the error about a text that may be nothing, or several things.
func unrecognised(t pin.Text, may []string) error {
	cause := "it is none of " + strings.Join(Formats(), ", ") + " by its content"
	if len(may) > 0 {
		cause = "it may be " + strings.Join(may, " or ") + " by its content"
	} else if bytes.Contains(t.Bytes, []byte("{{")) {
		cause += "; it has a template, {{, which must be rendered first"
	}
	return &usage.Avoidable{Err: errors.New(t.Name + ": " + cause), By: ByFormat}
}

// firstLine is the first line with content, without comments.
func firstLine(text []byte) string {
	for line := range bytes.Lines(text) {
		if content := contentOf(string(line)); content != "" {
			return content
		}
	}
	return ""
}

// contentOf is a line without its comment.
func contentOf(line string) string {
	if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
		return ""
	}
	if i := strings.Index(line, " #"); i >= 0 {
		line = line[:i]
	}
	return strings.TrimSpace(line)
}

// isWord reports whether a line is one word and no key, so that it may be a
// reference. A mapping has a space or an end of line after the colon of each key.
func isWord(line string) bool {
	return !strings.ContainsAny(line, " \t") && !strings.HasSuffix(line, ":")
}

// isSeparator reports whether a line is between documents of YAML, or is for its
// parser.
func isSeparator(line string) bool {
	return strings.HasPrefix(line, "---") || strings.HasPrefix(line, "%")
}

// mayBeJSON says by the keys of each document what a stream of JSON may be.
func mayBeJSON(t pin.Text) ([]string, error) {
	var may []string
	d := json.NewDecoder(bytes.NewReader(t.Bytes))
	for {
		var document json.RawMessage
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			return may, nil
		}
		if err != nil {
			return nil, nil //nolint:nilerror // it is no JSON, which is an answer
		}
		of, err := membersOf(document)
		if err != nil {
			return nil, at(t, lineOf(t.Bytes, d.InputOffset()), err)
		}
		if document := documentOf(of); len(document) > 0 {
			may = union(may, document)
		} else {
			return nil, nil
		}
	}
}

// documentOf says what an object may be by its keys.
func documentOf(of []member) (may []string) {
	keys := map[string]bool{}
	for _, m := range of {
		keys[m.key] = true
	}
	if isTarget(of) || slices.ContainsFunc(of, func(m member) bool { inner, err := membersOf(m.value); return err == nil && isTarget(inner) }) {
		may = append(may, Bake)
	}
	return append(may, byKeys(keys)...)
}

func byKeys(keys map[string]bool) (may []string) {
	if keys["services"] {
		may = append(may, Compose)
	}
	if keys["apiVersion"] && keys["kind"] {
		may = append(may, Kubernetes)
	}
	return may
}

// topKey finds keys of a block mapping that is a whole document of YAML: nothing
// else in it begins a line. A parser would take seventy times the text's size.
var topKey = regexp.MustCompile(`^["']?(apiVersion|kind|services)["']?[ \t]*:(?:[ \t\r\n]|$)`)

// mayBeYAML says by the top-level keys of each document what a stream of YAML
// may be. All documents have to be recognised.
func mayBeYAML(t pin.Text) (may []string, _ error) {
	keys, content := map[string]bool{}, false
	known := true
	end := func() {
		document := byKeys(keys)
		known = known && (!content || len(document) > 0)
		may = union(may, document)
		keys, content = map[string]bool{}, false
	}
	for raw := range bytes.Lines(t.Bytes) {
		line := string(raw)
		switch key := topKey.FindStringSubmatch(line); {
		case isSeparator(line):
			end()
		case key != nil:
			keys[key[1]], content = true, true
		default:
			content = content || contentOf(line) != "" && !strings.HasPrefix(line, "...")
		}
	}
	if end(); !known {
		return nil, nil
	}
	return may, nil
}

// union adds what is new.
func union(to, more []string) []string {
	for _, s := range more {
		if !slices.Contains(to, s) {
			to = append(to, s)
		}
	}
	return to
}
