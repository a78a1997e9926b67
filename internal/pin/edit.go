package pin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var errPlace = errors.New("not a plain or quoted string; write it as one, so that it can be replaced")

// editor changes scalars in a text, and inserts keys.
type editor struct {
	file  *Stream
	edits []edit
}

// edit is a change by nodes, of which positions are found later, in one pass.
type edit struct {
	field
	literal bool       // an alias is replaced by the text, and does not follow its anchor
	mapping *yaml.Node // when a key is inserted after the field
	text    string     // the value, or key: value
}

// set sets the value of a field.
func (e *editor) set(f field, text string, literal bool) {
	e.edits = append(e.edits, edit{field: f, text: text, literal: literal})
}

// insert inserts a key in a mapping, after a field.
func (e *editor) insert(mapping *yaml.Node, after field, key, value string) {
	quote := ""
	if mapping.Style&yaml.FlowStyle != 0 && after.key.Style&yaml.DoubleQuotedStyle != 0 {
		quote = `"` // JSON
	}
	e.edits = append(e.edits, edit{field: after, mapping: mapping, text: quote + key + quote + ": " + quote + value + quote})
}

// change is a change by position.
type change struct {
	start, end int
	text       string
}

// apply returns the text with all changes.
func (e *editor) apply(document *yaml.Node) ([]byte, error) {
	if err := e.followed(document); err != nil {
		return nil, err
	}
	places := e.places()
	var changes []change
	for _, one := range e.edits {
		c, ok := e.change(one, places)
		if !ok {
			return nil, e.file.at(one.value.Line-1, errPlace)
		}
		changes = append(changes, c)
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.start, b.start) })
	var out bytes.Buffer
	done := 0
	for _, c := range changes {
		out.Write(e.file.text[done:c.start])
		out.WriteString(c.text)
		done = c.end
	}
	out.Write(e.file.text[done:])
	return out.Bytes(), nil
}

// followed refuses to change a value that an alias elsewhere would follow: that
// may be part of another image.
func (e *editor) followed(n *yaml.Node) error {
	changed, replaced := map[*yaml.Node]bool{}, map[*yaml.Node]bool{}
	for _, one := range e.edits {
		if one.mapping == nil && one.literal {
			changed[one.value], replaced[one.value] = true, true
		}
	}
	var walk func(n *yaml.Node) error
	walk = func(n *yaml.Node) error {
		if n.Kind == yaml.AliasNode && changed[n.Alias] && !replaced[n] {
			return e.file.at(n.Line-1, fmt.Errorf("*%s would change with the value of an image; write the value here", n.Value))
		}
		for _, child := range n.Content {
			if err := walk(child); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(n)
}

// places finds keys and values in the text.
func (e *editor) places() map[*yaml.Node]image {
	found := map[*yaml.Node]image{}
	var nodes []*yaml.Node
	for _, one := range e.edits {
		for _, n := range []*yaml.Node{one.key, one.value} {
			if _, known := found[n]; n != nil && !known {
				found[n] = image{}
				nodes = append(nodes, n)
			}
		}
	}
	slices.SortFunc(nodes, func(a, b *yaml.Node) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	c := &cursor{text: e.file.text, line: 2, column: 1}
	for _, n := range nodes {
		if isEmpty(n) { // the parser says where the next token is
			continue
		}
		found[n] = c.find(n)
	}
	return found
}

// isEmpty reports whether a value is left out, as in "digest:".
func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0
}

// change finds the position of an edit.
func (e *editor) change(one edit, places map[*yaml.Node]image) (change, bool) {
	value := places[one.value]
	text := e.file.text
	inQuotes := one.value.Kind == yaml.ScalarNode && one.value.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	if one.mapping != nil {
		if inQuotes {
			value.end++
		}
		return e.insertion(one, value)
	}
	if isEmpty(one.value) {
		at, ok := afterColon(text, one.key, places[one.key])
		return change{at, at, " " + plain(one.text)}, ok
	}
	if inQuotes {
		return change{value.start, value.end, one.text}, value.end > 0
	}
	return change{value.start, value.end, plain(one.text)}, value.end > 0
}

// insertion is the position of a key that is inserted: in a line of its own, or
// behind a comma.
func (e *editor) insertion(one edit, after image) (change, bool) {
	text := e.file.text
	if after.end == 0 {
		return change{}, false
	}
	if one.mapping.Style&yaml.FlowStyle != 0 {
		return change{after.end, after.end, ", " + one.text}, true
	}
	at := after.end + until(text[after.end:], "\r\n")
	newline := "\n"
	if bytes.HasPrefix(text[at:], []byte("\r\n")) || at == len(text) && bytes.Contains(text, []byte("\r\n")) {
		newline = "\r\n"
	}
	return change{at, at, newline + strings.Repeat(" ", one.mapping.Content[0].Column-1) + one.text}, true
}

// afterColon is the position after the colon that follows a key.
func afterColon(text []byte, key *yaml.Node, at image) (int, bool) {
	if at.end == 0 {
		return 0, false
	}
	i := at.end
	if key.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		i++
	}
	i += len(text[i:]) - len(bytes.TrimLeft(text[i:], " \t"))
	return i + 1, i < len(text) && text[i] == ':'
}

// oldBooleans are strings that YAML 1.1, as Helm has it, takes for true and false.
var oldBooleans = []string{"y", "n", "yes", "no", "on", "off"}

// plain is a value as it may stand in YAML without being taken for something
// else than a string.
func plain(text string) string {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err == nil && value == text && !slices.Contains(oldBooleans, text) {
		return text
	}
	return `"` + text + `"`
}
