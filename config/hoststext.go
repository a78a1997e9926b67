package config

import (
	"bytes"
	"iter"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"
)

// expressions yields the tables and the keys of a TOML text, in order. A node
// is valid until the next one.
func expressions(text []byte) iter.Seq[*unstable.Node] {
	return func(yield func(*unstable.Node) bool) {
		var p unstable.Parser
		p.Reset(text)
		for p.NextExpression() {
			if !yield(p.Expression()) {
				return
			}
		}
	}
}

// keyOf returns the parts of the key of a table or of a value.
func keyOf(e *unstable.Node) []string {
	var key []string
	for it := e.Key(); it.Next(); {
		key = append(key, string(it.Node().Data))
	}
	return key
}

// block is a table of some host.
type block struct {
	key   []string
	start int // offset of the comment directly before it, or else of its line
}

func blocks(text []byte) []block {
	var all []block
	for e := range expressions(text) {
		if e.Kind == unstable.Table || e.Kind == unstable.ArrayTable {
			it := e.Key()
			it.Next()
			all = append(all, block{keyOf(e), blockStart(text, int(it.Node().Raw.Offset))})
		}
	}
	return all
}

// blockStart goes back to the beginning of a line, and of the comment before it.
func blockStart(text []byte, offset int) int {
	start := bytes.LastIndexByte(text[:offset], '\n') + 1
	for start > 0 {
		before := bytes.LastIndexByte(text[:start-1], '\n') + 1
		if !bytes.HasPrefix(bytes.TrimLeft(text[before:start], " \t"), []byte("#")) {
			break
		}
		start = before
	}
	return start
}

// insertTable inserts a table before all others, after the keys outside of
// tables.
func insertTable(text []byte, added string) []byte {
	at := len(text)
	if all := blocks(text); len(all) > 0 {
		at = all[0].start
		added += "\n"
	}
	head := bytes.Clone(text[:at])
	if len(head) > 0 && head[len(head)-1] != '\n' {
		head = append(head, '\n')
	}
	if len(head) > 0 && !bytes.HasSuffix(head, []byte("\n\n")) {
		head = append(head, '\n')
	}
	return slices.Concat(head, []byte(added), text[at:])
}

// dropHosts removes the tables of some hosts.
func dropHosts(text []byte, drop func(url string) bool) []byte {
	all := blocks(text)
	kept := []byte{}
	from := 0
	for i, t := range all {
		if len(t.key) < 2 || t.key[0] != "host" || !drop(t.key[1]) {
			continue
		}
		kept = append(kept, text[from:t.start]...)
		if from = len(text); i+1 < len(all) {
			from = all[i+1].start
		}
	}
	return append(kept, text[from:]...)
}

// RebaseHosts makes the file names in a hosts.toml absolute.
func RebaseHosts(text []byte, dir string) []byte {
	var rebased []byte
	var prefix []string
	from := 0
	for e := range expressions(text) {
		if e.Kind != unstable.KeyValue {
			prefix = keyOf(e)
			continue
		}
		if !namesFiles(slices.Concat(prefix, keyOf(e))) {
			continue
		}
		for _, s := range stringNodes(e.Value()) {
			if filepath.IsAbs(string(s.Data)) {
				continue
			}
			rebased = append(rebased, text[from:s.Raw.Offset]...)
			rebased = append(rebased, tomlString(filepath.Join(dir, string(s.Data)))...)
			from = int(s.Raw.Offset + s.Raw.Length)
		}
	}
	return append(rebased, text[from:]...)
}

// namesFiles reports whether a key's value is the name of a file, or names.
func namesFiles(key []string) bool {
	if len(key) == 3 && key[0] == "host" {
		key = key[2:]
	}
	return len(key) == 1 && (key[0] == "ca" || key[0] == "client")
}

// stringNodes returns the strings in a value, in order.
func stringNodes(value *unstable.Node) []*unstable.Node {
	if value.Kind == unstable.String {
		return []*unstable.Node{value}
	}
	var all []*unstable.Node
	if value.Kind == unstable.Array {
		for it := value.Children(); it.Next(); {
			all = append(all, stringNodes(it.Node())...)
		}
	}
	return all
}
