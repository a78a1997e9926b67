package pin

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// imageFinder finds the places in a document.
type imageFinder struct {
	finder
	global string
	found  []*said
	merges int
}

// maxMerges bounds how often mappings that are merged are looked at: aliases in
// aliases would otherwise make a small file large.
const maxMerges = 1_000_000

// walk finds the places in a node, the value of a key. Aliases are not followed.
func (f *imageFinder) walk(n *yaml.Node, above string) *nodeError {
	if n.Kind == yaml.AliasNode {
		return nil
	}
	if n.Kind == yaml.MappingNode {
		return f.mapping(n, above)
	}
	for _, child := range n.Content {
		if err := f.walk(child, above); err != nil {
			return err
		}
	}
	return nil
}

func (f *imageFinder) mapping(n *yaml.Node, above string) *nodeError {
	s := &said{mapping: n, fields: map[string]field{}, above: above, global: f.global}
	if err := s.read(n); err != nil {
		return err
	}
	if err := f.merge(s); err != nil {
		return err
	}
	split := len(s.bases()) > 0
	if split {
		f.found = append(f.found, s)
	}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := resolved(n.Content[i]).Value, n.Content[i+1]
		text := resolved(value)
		whole := named(key) && !(key == imageKey && split && slices.ContainsFunc(s.bases(), func(base []string) bool { return slices.Contains(base, imageKey) }))
		if (whole || above == imageKey && key == "reference") && text.Kind == yaml.ScalarNode && text.ShortTag() == "!!str" && !f.seen[text] {
			f.seen[text] = true
			f.found = append(f.found, &said{text: text})
		}
		if err := f.walk(value, key); err != nil {
			return err
		}
	}
	return nil
}

// read reads the fields that a mapping has itself.
func (s *said) read(n *yaml.Node) *nodeError {
	for i := 0; i < len(n.Content); i += 2 {
		key := resolved(n.Content[i])
		if key.Kind != yaml.ScalarNode {
			return &nodeError{n.Content[i].Line, "a key that is not a string; templates, {{ }}, must be rendered first"}
		}
		if !slices.Contains(allKeys, key.Value) {
			continue
		}
		if _, twice := s.fields[key.Value]; twice {
			return &nodeError{n.Content[i].Line, "the key " + key.Value + " is there twice"}
		}
		s.fields[key.Value] = field{n.Content[i], n.Content[i+1]}
	}
	return nil
}

// merge adds the fields of mappings that are merged, where the mapping says
// something about an image itself. One that says nothing is what it is merged
// from.
func (f *imageFinder) merge(s *said) *nodeError {
	own := len(s.fields)
	if !s.has(slices.Concat([]string{registryKey, repositoryKey, digestKey}, tagKeys, hexKeys)...) {
		return nil
	}
	seen := map[*yaml.Node]bool{s.mapping: true}
	for next := sources(s.mapping); len(next) > 0; {
		n := next[0]
		next = next[1:]
		if f.merges++; f.merges > maxMerges {
			return &nodeError{s.mapping.Line, "too many mappings are merged (<<)"}
		}
		if n.Kind != yaml.MappingNode || seen[n] {
			continue
		}
		seen[n] = true
		theirs := said{fields: map[string]field{}}
		if err := theirs.read(n); err != nil {
			return err
		}
		for key, value := range theirs.fields {
			if !s.has(key) {
				s.fields[key] = value
			}
		}
		next = append(next, sources(n)...)
	}
	s.merged = len(s.fields) > own
	return nil
}

// sources are the mappings that are merged into one.
func sources(n *yaml.Node) (all []*yaml.Node) {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value != "<<" {
			continue
		}
		from := resolved(n.Content[i+1])
		if from.Kind != yaml.SequenceNode {
			all = append(all, from)
			continue
		}
		for _, one := range from.Content {
			all = append(all, resolved(one))
		}
	}
	return all
}

// globalRegistry is global.imageRegistry, by which many charts replace the
// registry of all images; "" when it is not set.
func globalRegistry(document *yaml.Node) string {
	n := document
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	for _, name := range []string{"global", "imageRegistry"} {
		i := slices.IndexFunc(n.Content, func(key *yaml.Node) bool { return key.Value == name })
		if n.Kind != yaml.MappingNode || i < 0 || i%2 != 0 {
			return ""
		}
		n = resolved(n.Content[i+1])
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}
