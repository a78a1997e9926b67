package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sort"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/nestedoci/nested/internal/trust"
)

// maxFile bounds a file; a hundred times of what [Config.Render] writes.
const maxFile = 1 << 20

// Load reads a file, see [Parse], and checks who may change it and the files
// and directories that it names, see [CheckFile], [CheckSecret], [CheckDir] and
// [CheckHosts].
func Load(path string) (*Config, error) { return load(path, purpose{state: CheckDir}) }

// LoadGateway is Load for a gateway: the file has to describe one.
func LoadGateway(path string) (*Config, error) {
	return load(path, purpose{section: "gateway", state: CheckDir})
}

// LoadAndPrepare is LoadGateway for a gateway that starts: it also makes the
// directory of the location cache.
func LoadAndPrepare(path string) (*Config, error) {
	return load(path, purpose{section: "gateway", state: makeState})
}

// LoadServe is Load for a front: flags win over the file, which has to describe
// the rest. Without a path, flags and defaults are all.
func LoadServe(path string, flags Flags) (*Config, error) {
	return load(path, purpose{section: "serve", state: CheckDir, flags: flags})
}

// purpose is what a configuration is read for.
type purpose struct {
	section string                 // that it must have; empty: any
	state   func(dir string) error // checks, or makes, the directory of the location cache
	flags   Flags
}

func load(path string, p purpose) (*Config, error) {
	var text []byte
	if path != "" {
		var err error
		if text, err = trust.ReadFile(path, maxFile); err != nil {
			return nil, asProblem(err)
		}
	}
	d := read(path, text, p)
	if d.complete {
		d.checkFiles()
	}
	return d.result()
}

// Parse reads a file's bytes over the defaults, and checks the values. The
// error is an [*Error] with everything that is wrong. After a syntax error the
// rest of the text is not read.
func Parse(name string, data []byte) (*Config, error) {
	return read(name, data, purpose{}).result()
}

// ParseGateway is Parse for a gateway: the file has to describe one.
func ParseGateway(name string, data []byte) (*Config, error) {
	return read(name, data, purpose{section: "gateway"}).result()
}

// decoder reads one file.
type decoder struct {
	name     string // of the file; empty: there is none
	text     []byte
	purpose  purpose
	newlines []int // their offsets

	config   Config
	root     reflect.Value // the target: config, or a [Plugin]
	lists    string        // where its keys are listed
	complete bool          // whether the text was read to its end
	places   map[string]place
	bad      map[string]bool // keys whose value could not be used
	problems problems
}

// place is where a table or a value is.
type place struct {
	offset   int
	elements []int // of a list
	dotted   bool  // a table made by dotted keys, which only more dotted keys may extend
}

func read(name string, text []byte, p purpose) *decoder {
	d := newDecoder(name, text)
	d.purpose = p
	if len(text) > maxFile {
		d.problems.add(Problem{File: name, Wrong: "the file is larger than 1 MiB", Fix: "must be a configuration file"})
		return d
	}
	d.config = Default()
	d.root, d.lists = reflect.ValueOf(&d.config).Elem(), "nestctl config default lists the keys"
	if d.complete = d.walk(); d.complete {
		d.override()
		d.check()
	}
	return d
}

func newDecoder(name string, text []byte) *decoder {
	d := &decoder{name: name, text: text, places: map[string]place{}, bad: map[string]bool{}}
	for i, b := range text {
		if b == '\n' {
			d.newlines = append(d.newlines, i)
		}
	}
	return d
}

func (d *decoder) result() (*Config, error) {
	if err := d.problems.err(); err != nil {
		return nil, err
	}
	return &d.config, nil
}

// walk reads the text, and reports whether it reached the end. It uses
// go-toml's syntax tree. go-toml's strict decoder has the positions of unknown
// keys only, not those of values, stops at the first value of a wrong type or
// repeated key, and matches keys in any case.
func (d *decoder) walk() bool {
	var p unstable.Parser
	p.Reset(d.text)
	at := section{value: d.root}
	for p.NextExpression() {
		if e := p.Expression(); e.Kind == unstable.KeyValue {
			d.keyValue(at, e)
		} else {
			at = d.header(e)
		}
	}
	var bad *unstable.ParserError
	switch err := p.Error(); {
	case err == nil:
		return true
	case errors.As(err, &bad):
		d.problem("", cap(d.text)-cap(bad.Highlight), "syntax error", bad.Message)
	default:
		d.problem("", 0, "syntax error", err.Error())
	}
	return false
}

// section is a table of the file, with the struct for it; zero for an unknown
// one.
type section struct {
	name  string
	value reflect.Value
}

// key is the full name of a key in the table.
func (s section) key(name string) string {
	if s.name == "" {
		return shownKey(name)
	}
	return s.name + "." + shownKey(name)
}

// header enters a table.
func (d *decoder) header(e *unstable.Node) section {
	at := section{value: d.root}
	for it := e.Key(); it.Next() && at.value.IsValid(); {
		at = d.step(at, it.Node())
		if !it.IsLast() || !at.value.IsValid() {
			continue
		}
		offset := int(it.Node().Raw.Offset)
		if e.Kind == unstable.ArrayTable {
			d.problem(at.name, offset, at.name+" is a list of tables", "must be one table, ["+at.name+"]")
		}
		d.enter(at.name, offset, false)
	}
	return at
}

// step goes from a table into one below it.
func (d *decoder) step(from section, part *unstable.Node) section {
	name, offset := string(part.Data), int(part.Raw.Offset)
	key := from.key(name)
	f := field(from.value, name)
	switch {
	case !f.IsValid():
		d.unknown(from, name, offset)
		return section{}
	case f.Kind() != reflect.Struct:
		d.wrongType(key, offset, "is a table", f.Type())
		d.places[key] = place{offset: offset}
		return section{}
	}
	return section{key, f}
}

// enter records where a table is made. TOML makes it once, by a header, by
// braces or by dotted keys, and only the same form may extend it.
func (d *decoder) enter(key string, offset int, dotted bool) {
	before, ok := d.places[key]
	switch {
	case !ok:
		d.places[key] = place{offset: offset, dotted: dotted}
	case !dotted || !before.dotted:
		d.twice(key, offset, before)
	}
}

func (d *decoder) twice(key string, offset int, before place) {
	line, _ := d.position(before.offset)
	d.problem(key, offset, key+" is there twice", fmt.Sprintf("remove this one or that in line %d", line))
}

// keyValue reads one line, or one item in braces.
func (d *decoder) keyValue(at section, e *unstable.Node) {
	for it := e.Key(); it.Next() && at.value.IsValid(); {
		part := it.Node()
		name, offset := string(part.Data), int(part.Raw.Offset)
		if !it.IsLast() {
			if at = d.step(at, part); at.value.IsValid() {
				d.enter(at.name, offset, true)
			}
			continue
		}
		f := field(at.value, name)
		if !f.IsValid() {
			d.unknown(at, name, offset)
			return
		}
		d.value(at.key(name), f, offset, e.Value(), d.afterEquals(part))
	}
}

// afterEquals is where the value of a key begins.
func (d *decoder) afterEquals(key *unstable.Node) int {
	rest := d.text[key.Raw.Offset+key.Raw.Length:]
	rest = bytes.TrimLeft(rest, " \t")
	rest = bytes.TrimLeft(bytes.TrimPrefix(rest, []byte("=")), " \t")
	return len(d.text) - len(rest)
}

// problem records what is wrong at an offset.
func (d *decoder) problem(key string, offset int, wrong, fix string) {
	line, column := d.position(offset)
	d.problems.add(Problem{File: d.name, Line: line, Column: column, Key: key, Wrong: wrong, Fix: fix})
}

// position converts an offset into line and column.
func (d *decoder) position(offset int) (line, column int) {
	line = sort.SearchInts(d.newlines, offset)
	if line == 0 {
		return 1, offset + 1
	}
	return line + 1, offset - d.newlines[line-1]
}
