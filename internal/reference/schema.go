package reference

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// Schema is a JSON schema, of draft 2020-12.
type Schema map[string]any

// SchemaOf is what a schema is made of.
type SchemaOf struct {
	Name  string
	Title string
	Dir   string // of the package, from the root of the repository
	Type  string
	List  bool // a list of the type
	Both  bool // the type, or a list of it
	TOML  bool // keys are those of TOML, none is required, and there are no others
}

// digestPattern is the grammar of the image spec. Where there is no digest, it is empty.
const digestPattern = `^([a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+)?$`

// scalars are the schemas of types that are not of the package.
var scalars = map[string]Schema{
	"string": {"type": "string"}, "bool": {"type": "boolean"},
	"int": {"type": "integer"}, "int64": {"type": "integer"}, "float64": {"type": "number"},
	"digest.Digest":   {"type": "string", "pattern": digestPattern},
	"time.Time":       {"type": "string", "format": "date-time"},
	"time.Duration":   {"type": "string"}, // in TOML
	"nested.Strategy": {"type": "string", "enum": []any{"carrier", "reference"}},
}

// Make reads the type of Go and returns the schema of its JSON. Comments of fields
// are descriptions. Other members may be added in later versions, so
// that a schema does not forbid them.
func (o SchemaOf) Make(root string) (Schema, error) {
	p := schemaPackage{SchemaOf: o, types: map[string]*ast.TypeSpec{}, enums: map[string][]any{}, made: map[string]any{}}
	if err := p.read(filepath.Join(root, filepath.FromSlash(o.Dir))); err != nil {
		return nil, err
	}
	one, err := p.named(o.Type)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	list := Schema{"type": "array", "items": one}
	s := Schema{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": o.Title, "$defs": p.made}
	switch {
	case o.Both:
		s["anyOf"] = []any{one, list}
	case o.List:
		maps.Copy(s, list)
	default:
		maps.Copy(s, one)
	}
	return s, nil
}

// Text is the schema as a file.
func (s Schema) Text() (string, error) {
	text, err := json.MarshalIndent(s, "", "  ")
	return string(text) + "\n", err
}

// schemaPackage is what the package of a type declares.
type schemaPackage struct {
	SchemaOf
	types map[string]*ast.TypeSpec
	enums map[string][]any // constants of a type
	made  map[string]any
}

func (p schemaPackage) read(dir string) error {
	files, err := parseDir(dir)
	for _, file := range files {
		for _, d := range file.Decls {
			if d, ok := d.(*ast.GenDecl); ok {
				p.note(d)
			}
		}
	}
	return err
}

func (p schemaPackage) note(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			p.types[spec.Name.Name] = spec
		case *ast.ValueSpec:
			of, ok := spec.Type.(*ast.Ident)
			if ok && d.Tok == token.CONST && len(spec.Values) == 1 {
				if text, ok := constant(spec.Values[0]); ok {
					p.enums[of.Name] = append(p.enums[of.Name], text)
				}
			}
		}
	}
}

// named is a reference to the schema of a type of the package.
func (p schemaPackage) named(name string) (Schema, error) {
	ref := Schema{"$ref": "#/$defs/" + name}
	if p.made[name] != nil {
		return ref, nil
	}
	spec := p.types[name]
	if spec == nil {
		return nil, fmt.Errorf("%s: no type of %s", name, p.Dir)
	}
	s := Schema{}
	p.made[name] = s // types may contain themselves
	of, err := p.of(spec.Type)
	if err != nil {
		return nil, err
	}
	maps.Copy(s, of)
	if enum := p.enums[name]; enum != nil {
		s["enum"] = enum
	}
	return ref, nil
}

// of is the schema of a type.
func (p schemaPackage) of(e ast.Expr) (Schema, error) {
	switch e := e.(type) {
	case *ast.Ident:
		if s, ok := scalars[e.Name]; ok {
			return maps.Clone(s), nil
		}
		return p.named(e.Name)
	case *ast.SelectorExpr:
		name := e.X.(*ast.Ident).Name + "." + e.Sel.Name
		if s, ok := scalars[name]; ok {
			return maps.Clone(s), nil
		}
		return nil, fmt.Errorf("%s: unknown to this generator", name)
	case *ast.StarExpr:
		return p.of(e.X)
	case *ast.ArrayType:
		items, err := p.of(e.Elt)
		return Schema{"type": "array", "items": items}, err
	case *ast.MapType:
		values, err := p.of(e.Value)
		return Schema{"type": "object", "additionalProperties": values}, err
	case *ast.StructType:
		return p.object(e)
	}
	return nil, fmt.Errorf("%T: unknown to this generator", e)
}

func (p schemaPackage) object(t *ast.StructType) (Schema, error) {
	properties, required := Schema{}, []any{}
	if err := p.fields(t, properties, &required); err != nil {
		return nil, err
	}
	s := Schema{"type": "object", "properties": properties}
	if p.TOML {
		s["additionalProperties"] = false
	} else {
		s["required"] = required
	}
	return s, nil
}

// fields adds the fields of a struct, and those of structs that it embeds.
func (p schemaPackage) fields(t *ast.StructType, properties Schema, required *[]any) error {
	for _, f := range t.Fields.List {
		if embedded, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 {
			if inner, ok := p.types[embedded.Name].Type.(*ast.StructType); ok {
				if err := p.fields(inner, properties, required); err != nil {
					return err
				}
			}
			continue
		}
		name, options := p.key(f)
		if name == "" {
			continue
		}
		s, err := p.of(f.Type)
		if err != nil {
			return err
		}
		if said := sentence(f.Doc) + sentence(f.Comment); said != "" {
			s["description"] = said
		}
		properties[name] = s
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
	return nil
}

// key is the name of a field, and its options; "" when it is not written.
func (p schemaPackage) key(f *ast.Field) (name, options string) {
	if f.Tag == nil {
		return "", ""
	}
	tag, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return "", ""
	}
	kind := "json"
	if p.TOML {
		kind = "toml"
	}
	name, options, _ = strings.Cut(reflect.StructTag(tag).Get(kind), ",")
	return strings.TrimPrefix(name, "-"), options
}

func sentence(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
