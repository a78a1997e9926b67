package sources

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nestedoci/nested/internal/pin"
	"github.com/nestedoci/nested/internal/sanitize"
)

// readCompose reads the images of services, in the order of the text: their own,
// and those that are mounted as volumes. Services that are built and have no
// image are in no registry.
func (o Options) readCompose(t pin.Text) ([]Source, error) {
	// JSON may be indented with tabs, and has none in strings.
	text := t.Bytes
	if strings.HasPrefix(firstLine(text), "{") {
		text = bytes.ReplaceAll(text, []byte("\t"), []byte(" "))
	}
	if err := pin.CheckValues(t.Name, text); err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var images []*yaml.Node
	for {
		var document yaml.Node
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s", t.Name, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		c := compose{mappings: map[*yaml.Node]*mapping{}}
		images = append(images, c.images(document.Content[0])...)
		switch {
		case c.bad != nil:
			return nil, at(t, c.bad.Line, fmt.Errorf("the key %s is there twice", sanitize.Quote(c.bad.Value)))
		case c.elsewhere != nil:
			return nil, at(t, c.elsewhere.Line, errors.New("images may be in other files, which are not read; name what docker compose config prints"))
		}
	}
	slices.SortFunc(images, func(a, b *yaml.Node) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	var found []Source
	for _, n := range slices.Compact(images) {
		switch {
		case n.ShortTag() == "!!null" || n.ShortTag() == "!!str" && n.Value == "":
			continue
		case n.ShortTag() != "!!str":
			return nil, at(t, n.Line, errors.New("an image that is not a string"))
		}
		s, err := o.imageAt(t, n.Line, n.Value)
		if err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	return found, nil
}

// compose reads a document as it was parsed: decoding it compares each key with
// all others, and takes minutes for a file of 8 MiB. Each mapping is read once,
// however many aliases there are.
type compose struct {
	mappings map[*yaml.Node]*mapping
	bad      *yaml.Node // a key that is there twice
	// elsewhere names another file, whose services and images count for Compose.
	elsewhere *yaml.Node
}

// mapping is what is known of a mapping.
type mapping struct {
	own    map[string]*yaml.Node
	merged []*yaml.Node          // by <<, in order
	found  map[string]*yaml.Node // fields, also those that are merged
}

// images are the nodes of a document that name images.
func (c *compose) images(document *yaml.Node) (images []*yaml.Node) {
	c.elsewhere = c.field(document, "include")
	services := map[string]*yaml.Node{}
	c.collect(c.field(document, "services"), services, map[*yaml.Node]bool{})
	for _, service := range services {
		if image := c.field(service, "image"); image != nil {
			images = append(images, image)
		}
		c.elsewhere = cmp.Or(c.elsewhere, c.field(c.field(service, "extends"), "file"))
		volumes := c.field(service, "volumes")
		if volumes == nil || volumes.Kind != yaml.SequenceNode {
			continue
		}
		for _, volume := range volumes.Content {
			volume = target(volume)
			kind, source := c.field(volume, "type"), c.field(volume, "source")
			if kind != nil && kind.Value == "image" && source != nil {
				images = append(images, source)
			}
		}
	}
	return images
}

// collect collects all fields of a mapping, its own before those that it merges.
func (c *compose) collect(n *yaml.Node, into map[string]*yaml.Node, seen map[*yaml.Node]bool) {
	if n == nil || seen[n] {
		return
	}
	seen[n] = true
	m := c.of(n)
	for key, value := range m.own {
		if _, ok := into[key]; !ok {
			into[key] = value
		}
	}
	for _, other := range m.merged {
		c.collect(other, into, seen)
	}
}

// field is a field of a mapping, its own or one that it merges; nil for none.
func (c *compose) field(n *yaml.Node, key string) *yaml.Node {
	m := c.of(n)
	if value, ok := m.own[key]; ok {
		return value
	}
	if value, ok := m.found[key]; ok {
		return value
	}
	m.found[key] = nil // also for what merges itself
	for _, other := range m.merged {
		if value := c.field(other, key); value != nil {
			m.found[key] = value
			return value
		}
	}
	return nil
}

// of reads a mapping; anything else has no fields.
func (c *compose) of(n *yaml.Node) *mapping {
	if n == nil || n.Kind != yaml.MappingNode {
		return &mapping{found: map[string]*yaml.Node{}}
	}
	if m, ok := c.mappings[n]; ok {
		return m
	}
	m := &mapping{own: map[string]*yaml.Node{}, found: map[string]*yaml.Node{}}
	c.mappings[n] = m
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), target(n.Content[i+1])
		switch _, twice := m.own[key.Value]; {
		case key.Value == "<<" && key.Tag == "!!merge" && value.Kind == yaml.SequenceNode:
			for _, other := range value.Content {
				m.merged = append(m.merged, target(other))
			}
		case key.Value == "<<" && key.Tag == "!!merge":
			m.merged = append(m.merged, value)
		case twice:
			c.bad = cmp.Or(c.bad, key)
		default:
			m.own[key.Value] = value
		}
	}
	return m
}

// target is a node, or what it is an alias of.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
