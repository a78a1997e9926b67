package config

import (
	"reflect"
	"slices"
	"strings"
)

// unknown notes a key that there is not, with the one that may be meant.
func (d *document) unknown(at section, name string, offset int) {
	if d.problems.full() {
		d.problems.add(Problem{})
		return
	}
	key := at.key(name)
	if instead, ok := gone[name]; ok {
		d.problem(key, offset, key+" is no key any more", instead)
		return
	}
	right := "remove it; " + d.lists
	if meant := d.meant(at, name); meant != "" {
		right = "did you mean " + meant + "?"
	}
	d.problem(key, offset, "unknown key "+key, right)
}

// gone are keys of earlier versions, in whatever table, and what to do instead.
var gone = map[string]string{
	"max_document_bytes": "remove it; docs/spec.md, section 5, has the limit",
	"max_depth":          "remove it; docs/spec.md, section 5, has the limit",
	"max_entries":        "remove it; docs/spec.md, section 5, has the limit",
	"max_descriptors":    "remove it; docs/spec.md, section 5, has the limit",
	"redirects":          "remove it; redirects of blobs are handed on where that is safe, and followed elsewhere",
	"search_requests":    "remove it; a search makes 100 requests at most",
	"trail_max_age":      "remove it; what was not seen for 30 days is forgotten",
	"trail_max_bytes":    "remove it; the location cache has 64 MiB at most, then the oldest is forgotten",
}

// meant finds what is spelt nearly so in the same table, or just so in another.
func (d *document) meant(at section, name string) string {
	if len(name) > maxQuoted {
		return ""
	}
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, least := "", 1+max(1, len(name)/3)
	for _, known := range names(at.value.Type()) {
		if n := distance(name, known); n < least {
			best, least = known, n
		}
	}
	if best != "" {
		return best
	}
	for _, table := range fields(d.root.Type()) {
		if table.Type.Kind() == reflect.Struct && slices.Contains(names(table.Type), name) {
			return table.Tag.Get("toml") + "." + name
		}
	}
	return ""
}

// names lists the keys of a table.
func names(t reflect.Type) []string {
	var all []string
	for _, f := range fields(t) {
		all = append(all, f.Tag.Get("toml"))
	}
	return all
}

// distance counts the bytes to put in, take out, replace or swap with the next
// one on the way from a to b.
func distance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
