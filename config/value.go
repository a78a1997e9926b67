package config

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// fields are those that keys set: those of a table, and of structs embedded in
// it.
func fields(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Anonymous })
}

// field finds the field of a key; it is not valid when there is none.
func field(v reflect.Value, name string) reflect.Value {
	for _, f := range fields(v.Type()) {
		if f.Tag.Get("toml") == name {
			return v.FieldByIndex(f.Index)
		}
	}
	return reflect.Value{}
}

// value sets a key, unless it is set already or has another type.
func (d *decoder) value(key string, f reflect.Value, offset int, node *unstable.Node, valueOffset int) {
	if f.Kind() == reflect.Struct && node.Kind == unstable.InlineTable {
		d.enter(key, offset, false)
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
	text := string(node.Data)
	switch {
	case f.Type() == typeOfDuration && node.Kind == unstable.String:
		duration, err := time.ParseDuration(text)
		d.number(key, f, text, int64(duration), err)
	case f.Kind() == reflect.String && node.Kind == unstable.String:
		f.SetString(text)
	case f.Kind() == reflect.Int && node.Kind == unstable.Integer:
		n, err := strconv.ParseInt(text, 0, strconv.IntSize)
		d.number(key, f, text, n, err)
	case f.Kind() == reflect.Slice && node.Kind == unstable.Array:
		d.list(key, f, node)
	default:
		d.wrongType(key, valueOffset, "is "+kindNames[node.Kind], f.Type())
	}
}

var typeOfDuration = reflect.TypeFor[time.Duration]()

// number sets an integer or a duration.
func (d *decoder) number(key string, f reflect.Value, text string, n int64, err error) {
	offset := d.places[key].offset
	switch {
	case err == nil:
		f.SetInt(n)
	case errors.Is(err, strconv.ErrRange):
		d.wrong(key, offset, "is "+shownCut(text), "must fit into "+strconv.Itoa(strconv.IntSize)+" bits")
	default:
		d.wrongType(key, offset, "is "+quote(text), f.Type())
	}
}

// list sets a list of strings, without the elements that are not strings.
func (d *decoder) list(key string, f reflect.Value, node *unstable.Node) {
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
		d.wrongType(key, offset, "has "+kindNames[e.Kind]+" in it", f.Type())
	}
	d.places[key] = here
	f.Set(reflect.ValueOf(list))
}

// wrong records a value that cannot be used.
func (d *decoder) wrong(key string, offset int, is, fix string) {
	d.bad[key] = true
	d.problem(key, offset, key+" "+is, fix)
}

func (d *decoder) wrongType(key string, offset int, is string, want reflect.Type) {
	d.wrong(key, offset, is, "must be "+typeName(want))
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

// kindNames are a file's values for its readers.
var kindNames = map[unstable.Kind]string{
	unstable.String: "a string", unstable.Bool: "a boolean", unstable.Float: "a float", unstable.Integer: "an integer",
	unstable.Array: "a list", unstable.InlineTable: "a table", unstable.LocalDate: "a date or time",
	unstable.LocalTime: "a date or time", unstable.LocalDateTime: "a date or time", unstable.DateTime: "a date or time",
}

func shownCut(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return s[:maxQuoted] + "…"
}

// shownKey is a part of a key as it is written in a file and in an error.
func shownKey(name string) string {
	bare := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	if name == "" || strings.IndexFunc(name, func(r rune) bool { return !bare(r) }) >= 0 {
		return quote(name)
	}
	return shownCut(name)
}
