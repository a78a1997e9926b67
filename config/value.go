package config

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// field finds the field of a key; it is not valid when there is none.
func field(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		switch f := v.Type().Field(i); {
		case f.Anonymous:
			if found := field(v.Field(i), name); found.IsValid() {
				return found
			}
		case f.Tag.Get("toml") == name:
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// value sets a key, unless it was set before or has another type.
func (d *document) value(key string, f reflect.Value, offset int, node *unstable.Node, valueOffset int) {
	if f.Kind() == reflect.Struct && node.Kind == unstable.InlineTable {
		d.enter(key, offset, "braces")
		for it := node.Children(); it.Next(); {
			d.keyValue(section{key, f}, it.Node())
		}
		return
	}
	if before, ok := d.places[key]; ok {
		d.twice(key, offset, before)
		return
	}
	d.places[key] = place{offset: valueOffset}
	switch {
	case f.Type() == typeOfDuration && node.Kind == unstable.String:
		d.duration(key, f, string(node.Data))
	case f.Kind() == reflect.String && node.Kind == unstable.String:
		f.SetString(string(node.Data))
	case f.Kind() == reflect.Int && f.Type() != typeOfDuration && node.Kind == unstable.Integer:
		d.integer(key, f, string(node.Data))
	case f.Kind() == reflect.Slice && node.Kind == unstable.Array:
		d.list(key, f, node)
	default:
		d.wrongType(key, valueOffset, kindName(node.Kind), f.Type())
	}
}

var typeOfDuration = reflect.TypeFor[time.Duration]()

func (d *document) duration(key string, f reflect.Value, text string) {
	t, err := time.ParseDuration(text)
	if err != nil {
		d.wrong(key, key+" is "+quote(text), "must be "+typeName(f.Type()))
		return
	}
	f.SetInt(int64(t))
}

func (d *document) integer(key string, f reflect.Value, text string) {
	n, err := strconv.ParseInt(text, 0, strconv.IntSize)
	if errors.Is(err, strconv.ErrRange) {
		d.wrong(key, key+" is "+shownCut(text), "must fit into "+strconv.Itoa(strconv.IntSize)+" bits")
		return
	}
	if err != nil {
		d.wrong(key, key+" is "+quote(text), "must be "+typeName(f.Type()))
		return
	}
	f.SetInt(n)
}

// list sets a list of strings to those that are strings.
func (d *document) list(key string, f reflect.Value, node *unstable.Node) {
	list, here := []string{}, d.places[key]
	for it := node.Children(); it.Next(); {
		e := it.Node()
		if e.Kind == unstable.String {
			list = append(list, string(e.Data))
			here.elements = append(here.elements, int(e.Raw.Offset))
			continue
		}
		offset := here.offset
		if e.Raw.Length > 0 { // a list in a list has no position
			offset = int(e.Raw.Offset)
		}
		d.bad[key] = true
		d.problem(key, offset, key+" has "+kindName(e.Kind)+" in it", "must be "+typeName(f.Type()))
	}
	d.places[key] = here
	f.Set(reflect.ValueOf(list))
}

// wrong notes a value that cannot be taken over.
func (d *document) wrong(key, wrong, right string) {
	d.bad[key] = true
	d.problem(key, d.places[key].offset, wrong, right)
}

func (d *document) wrongType(key string, offset int, is string, want reflect.Type) {
	d.bad[key] = true
	d.problem(key, offset, key+" is "+is, "must be "+typeName(want))
}

// typeName is a field's type for readers of the file.
func typeName(t reflect.Type) string {
	switch {
	case t == typeOfDuration:
		return `a duration such as "30s"`
	case t.Kind() == reflect.Struct:
		return "a table"
	case t.Kind() == reflect.Slice:
		return "a list of strings"
	case t.Kind() == reflect.Int:
		return "an integer"
	}
	return "a string"
}

func kindName(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "a string"
	case unstable.Bool:
		return "a boolean"
	case unstable.Float:
		return "a float"
	case unstable.Integer:
		return "an integer"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}

func shownCut(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return s[:maxQuoted] + "…"
}

// shownKey is a part of a key as it may stand in a file and in an error.
func shownKey(name string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	if name == "" || strings.IndexFunc(name, func(r rune) bool { return !bare(r) }) >= 0 {
		return quote(name)
	}
	return shownCut(name)
}
