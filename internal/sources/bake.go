package sources

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/pin"
	"github.com/nestedoci/nested/internal/sanitize"
)

// Keys of a target that was built.
const (
	nameKey   = "image.name" // several names by comma
	digestKey = "containerimage.digest"
)

// readBake reads the metadata of docker buildx bake, an object with a target at
// each key, or that of docker buildx build, which is one target. Targets without
// a name are in no registry.
func (o Options) readBake(t pin.Text) ([]Source, error) {
	of, err := membersOf(t.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	if isTarget(of) {
		of = []member{{value: t.Bytes}}
	}
	var found []Source
	for _, m := range of {
		inner, err := membersOf(m.value)
		if err != nil && !errors.Is(err, errNoObject) {
			return nil, at(t, lineOf(t.Bytes, m.offset), fmt.Errorf("target %s: %w", sanitize.Quote(m.key), err))
		}
		name := stringOf(inner, nameKey)
		if name == "" {
			continue
		}
		s, err := o.built(name, stringOf(inner, digestKey))
		if err != nil {
			return nil, at(t, lineOf(t.Bytes, m.offset), fmt.Errorf("target %s: %w", sanitize.Quote(m.key), err))
		}
		found = append(found, s)
	}
	return found, nil
}

// isTarget reports whether an object describes one image.
func isTarget(of []member) bool {
	return slices.ContainsFunc(of, func(m member) bool { return m.key == nameKey || m.key == digestKey })
}

// built is the image that was built under some names: the first below
// Options.Below, or else the first of all. buildx writes names in full.
func (o Options) built(names, dgst string) (Source, error) {
	var first Source
	for _, name := range strings.Split(names, ",") {
		ref, tag, err := o.Parse(strings.TrimSpace(name))
		if err != nil {
			return first, err
		}
		if !strings.HasPrefix(strings.TrimSpace(name), ref.Repository().String()) {
			return first, fmt.Errorf("%s %s: not a name in full; write %s", nameKey, sanitize.Quote(name), ref.Repository())
		}
		if ref, err = ref.Repository().WithDigest(digest.Digest(dgst)); err != nil {
			return first, fmt.Errorf("%s: %w; push the image, and write the metadata again", digestKey, err)
		}
		s := Source{Reference: ref, Tag: tag}
		if len(ref.Repository().Above(o.Below)) > 0 {
			return s, nil
		}
		if first == (Source{}) {
			first = s
		}
	}
	return first, nil
}

// member is a member of a JSON object.
type member struct {
	key    string
	value  json.RawMessage
	offset int64 // behind the key
}

var errNoObject = errors.New("not an object of JSON")

// membersOf reads an object of JSON, which must not have a key twice.
func membersOf(text []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errNoObject
	}
	var all []member
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: token.(string), offset: d.InputOffset()}
		if seen[m.key] {
			return nil, fmt.Errorf("the key %s is there twice", sanitize.Quote(m.key))
		}
		seen[m.key] = true
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	_, err := d.Token()
	return all, err
}

// stringOf is the string at a key; "" when there is none.
func stringOf(of []member, key string) (s string) {
	for _, m := range of {
		if m.key == key && json.Unmarshal(m.value, &s) != nil {
			return ""
		}
	}
	return s
}

// lineOf is the line of an offset.
func lineOf(text []byte, offset int64) int { return bytes.Count(text[:offset], []byte("\n")) + 1 }
