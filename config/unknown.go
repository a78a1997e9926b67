package config

import (
	"reflect"
	"slices"
	"strings"
)

// unknown records an unknown key, with the one that may be meant.
func (d *decoder) unknown(at section, name string, offset int) {
	if d.problems.full() {
		d.problems.add(Problem{})
		return
	}
	key := at.key(name)
	if instead, ok := removedKeys[name]; ok {
		d.problem(key, offset, key+" is not a key any more", instead)
		return
	}
	fix := "remove it; " + d.lists
	if meant := d.meant(at, name); meant != "" {
		fix = "did you mean " + meant + "?"
	}
	d.problem(key, offset, "unknown key "+key, fix)
}

// removedKeys are keys of earlier versions, in any table, and what to do about
// them.
var removedKeys = map[string]string{
	"max_document_bytes": "remove it; docs/spec.md, section 5, has the limit",
	"max_depth":          "remove it; docs/spec.md, section 5, has the limit",
	"max_entries":        "remove it; docs/spec.md, section 5, has the limit",
	"max_descriptors":    "remove it; docs/spec.md, section 5, has the limit",
	"redirects":          "remove it; redirects of blobs are passed to the client where that is safe, and followed otherwise",
	"search_requests":    "remove it; a search makes 100 requests at most",
	"trail_max_age":      "remove it; entries that were not seen for 30 days are dropped",
	"trail_max_bytes":    "remove it; the location cache has at most 64 MiB; beyond that the oldest entries are dropped",
}

// meant finds a key with nearly this spelling in the same table, or with this
// spelling in another.
func (d *decoder) meant(at section, name string) string {
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

// distance counts the bytes to insert, delete, replace or swap with the next
// one to get from a to b.
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
