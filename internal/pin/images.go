package pin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"
)

// The keys that values of charts name an image by. Others may be beside them.
const (
	registryKey   = "registry"
	repositoryKey = "repository"
	imageKey      = "image"
	nameKey       = "name"
	digestKey     = "digest"
)

var (
	tagKeys = []string{"tag", "imageTag"}
	hexKeys = []string{"sha", "sha256"} // a digest without its algorithm
	allKeys = slices.Concat([]string{registryKey, repositoryKey, imageKey, nameKey, digestKey}, tagKeys, hexKeys)
)

// said is a place in values that may say an image: a mapping, or else a string.
type said struct {
	mapping *yaml.Node
	fields  map[string]field
	above   string // the key of the mapping
	text    *yaml.Node
	global  string // global.imageRegistry
	merged  bool   // some fields are another mapping's
}

// field is a key of a mapping, with its value.
type field struct{ key, value *yaml.Node }

// get is the text of a field; "" for one that is not there, null or no scalar.
func (s *said) get(key string) string {
	f, ok := s.fields[key]
	if !ok {
		return ""
	}
	if v := resolved(f.value); v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
		return v.Value
	}
	return ""
}

// has reports whether one of the keys is there, whatever its value.
func (s *said) has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { _, ok := s.fields[key]; return ok })
}

func (s *said) line() int {
	if s.text != nil {
		return s.text.Line - 1
	}
	for i := 0; i < len(s.mapping.Content); i += 2 {
		if s.bases()[0][0] == resolved(s.mapping.Content[i]).Value {
			return s.mapping.Content[i].Line - 1
		}
	}
	return s.mapping.Line - 1 // it is merged from another
}

// all is everything that a place says, to be compared.
func (s *said) all() string {
	if s.text != nil {
		return s.text.Value
	}
	return saying(s.get)
}

func saying(get func(key string) string) string {
	var all []string
	for _, key := range allKeys {
		all = append(all, get(key))
	}
	return strings.Join(all, "\n")
}

// named reports whether a key is that of an image, as image and proxyImage are.
func named(key string) bool { return key == imageKey || strings.HasSuffix(key, "Image") }

// bases are the keys that may hold the name of the image, without its registry,
// the likeliest first.
func (s *said) bases() (all [][]string) {
	qualified := s.has(slices.Concat([]string{registryKey, digestKey}, tagKeys, hexKeys)...)
	image := s.get(imageKey)
	switch part := image != "" && !strings.ContainsAny(image[strings.LastIndexByte(image, '/')+1:], ":@"); {
	case s.get(repositoryKey) != "" && part:
		return [][]string{{repositoryKey, imageKey}, {repositoryKey}}
	case s.get(repositoryKey) != "" && s.get(nameKey) != "" && named(s.above):
		return [][]string{{repositoryKey}, {repositoryKey, nameKey}}
	case s.get(repositoryKey) != "":
		return [][]string{{repositoryKey}}
	case part && qualified:
		return [][]string{{imageKey}}
	case s.get(nameKey) != "" && (qualified || named(s.above)):
		return [][]string{{nameKey}}
	}
	return nil
}

// registries are those that may stand in front of the name: the one for all
// images replaces the one that is beside it.
func (s *said) registries() []string {
	if own := s.get(registryKey); s.global == "" || s.global == own {
		return []string{own}
	}
	return []string{s.global, s.get(registryKey)}
}

// wants returns what the image is when its name is in these keys behind a
// registry; text is as a template would write it.
func (s *said) wants(registry string, base []string) (w wanted, text string, err error) {
	var parts []string
	if registry != "" {
		parts = append(parts, registry)
	}
	for _, key := range base {
		parts = append(parts, s.get(key))
	}
	text = strings.TrimSpace(strings.Join(parts, "/"))
	tag := cmp.Or(s.get(tagKeys[0]), s.get(tagKeys[1]))
	if tag != "" && !strings.Contains(tag, "{{") { // which the chart renders
		text += ":" + tag
	}
	if d := s.digest(); d != "" && !strings.Contains(tag, "@") {
		text += "@" + d
	}
	name, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return w, text, err
	}
	w = wanted{image: text, repository: name.Name()}
	if digested, ok := name.(reference.Digested); ok {
		w.digest = digested.Digest()
	} else if tagged, ok := name.(reference.Tagged); ok {
		w.tag = tagged.Tag()
	}
	return w, text, nil
}

// digest is the digest that is there; "" for none.
func (s *said) digest() string {
	for _, key := range hexKeys {
		if h := s.get(key); h != "" {
			return digest.NewDigestFromEncoded(digest.SHA256, h).String()
		}
	}
	return s.get(digestKey)
}

// pin edits the place when its image is to be pinned, and returns what it says
// then.
func (s *said) pin(p *Pinner, e *editor) (string, error) {
	if s.text != nil {
		ref, err := p.Pin(s.text.Value)
		if err != nil || ref == "" {
			return s.text.Value, err
		}
		e.set(field{value: s.text}, ref, false)
		return ref, nil
	}
	var first error
	for _, base := range s.bases() {
		for _, registry := range s.registries() {
			w, text, err := s.wants(registry, base)
			if err != nil {
				first = cmp.Or(first, p.unmatched(text, text, err))
				continue
			}
			ref, err := p.find(w)
			if err != nil {
				first = cmp.Or(first, err)
				continue
			}
			if ref != "" {
				return s.rewrite(e, w, ref, registry, base)
			}
		}
	}
	return saying(s.get), first
}

// rewrite makes the fields say a pinned reference, in the way in which they said
// the image.
func (s *said) rewrite(e *editor, w wanted, ref, registry string, base []string) (string, error) {
	repository, d, _ := strings.Cut(ref, "@")
	host, path, _ := strings.Cut(repository, "/")
	if s.merged {
		return "", fmt.Errorf("image %s: some of its keys are merged (<<) from another image; write them all here, so that it can be pinned", w.image)
	}
	if err := s.checkTag(); err != nil {
		return "", fmt.Errorf("image %s: %w", w.image, err)
	}
	if s.global != "" && s.global != host && (s.has(registryKey) || registry != "") {
		return "", fmt.Errorf("image %s: global.imageRegistry, %s, would replace the registry of its copy; remove it, or set it to %s", w.image, s.global, host)
	}
	now := map[string]string{}
	if s.has(registryKey) {
		now[registryKey] = host
	}
	if !s.has(registryKey) && registry == "" {
		path = repository
	}
	last := len(base) - 1
	if last > 0 {
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return "", fmt.Errorf("image %s: the name of its copy, %s, has too few parts for its keys", w.image, path)
		}
		now[base[0]], path = path[:i], path[i+1:]
	}
	now[base[last]] = path
	if w.digest == "" {
		s.setDigest(now, digest.Digest(d))
	}
	return s.apply(e, now, base[last])
}

// checkTag refuses a tag without quotes that Helm reads as a number, or as yes
// or no: of tag: 1.10 a chart makes the image of 1.1, which is another one.
func (s *said) checkTag() error {
	for _, key := range tagKeys {
		if text := s.get(key); text != "" {
			if read := helmReads(resolved(s.fields[key].value)); read != text {
				return fmt.Errorf("%s: %s without quotes is %s for Helm; write it in quotes", key, text, read)
			}
		}
	}
	return nil
}

// helmReads is how a chart writes a scalar.
func helmReads(n *yaml.Node) string {
	if n.Style != 0 { // in quotes, or with a tag of YAML
		return n.Value
	}
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool":
		var value any
		if n.Decode(&value) == nil {
			return fmt.Sprint(value)
		}
	case "!!str":
		if slices.Contains(oldBooleans, strings.ToLower(n.Value)) {
			return fmt.Sprint(slices.Index(oldBooleans, strings.ToLower(n.Value))%2 == 0)
		}
	}
	return n.Value
}

// setDigest decides which keys get the digest: those that are there, or else
// the usual one.
func (s *said) setDigest(now map[string]string, d digest.Digest) {
	for _, key := range hexKeys {
		if s.has(key) {
			now[key] = d.Encoded()
		}
	}
	if s.has(digestKey) || !s.has(hexKeys...) {
		now[digestKey] = d.String()
	}
}

// apply edits fields, and inserts what is not there after another.
func (s *said) apply(e *editor, now map[string]string, after string) (string, error) {
	for _, key := range allKeys {
		text, ok := now[key]
		if !ok {
			continue
		}
		if f, ok := s.fields[key]; ok {
			if text != s.get(key) {
				e.set(f, text, true)
			}
			continue
		}
		e.insert(s.mapping, s.fields[after], key, text)
	}
	return saying(func(key string) string {
		if text, ok := now[key]; ok {
			return text
		}
		return s.get(key)
	}), nil
}
