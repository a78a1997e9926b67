package nested

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
)

// fastReader reads nested indexes of the form that everybody writes: JSON in
// printable ASCII without escapes, known keys only, each once and in its own
// case, no null. Whatever is not of this form, and whatever is wrong in any
// way, it leaves to decode, which says what it is; what it reads it reads as
// decode does (FuzzFastReader), in a sixteenth of the time. A decoder for any
// JSON copies each string: nine allocations for an entry, not five.
type fastReader struct {
	rest     string
	keys     Keys
	declined bool // something is not of the form, or wrong
}

// pinned is how much of the text of a manifest or index may be kept with each
// entry of it: more than what is usual, and less than what a pull could not
// hold of each of its manifests and indexes.
const pinned = 1 << 10

// readFast reads a nested index, and reports whether it did. The entries'
// strings are parts of one copy of the data, unless there is much more in that.
func (r Rule) readFast(mediaType string, data []byte) (parsed, bool) {
	if int64(len(data)) > r.limits.Manifest || !r.keys.lowerCase() {
		return parsed{}, false
	}
	in := &fastReader{rest: string(data), keys: r.keys}
	m := parsed{nested: false}
	seen := make([]string, 0, fewKeys)
	in.object(func(key string) {
		in.once(&seen, key)
		switch key {
		case "schemaVersion":
			in.number()
		case "mediaType":
			in.declined = in.text() != mediaType || in.declined
		case "artifactType":
			in.text()
		case "annotations":
			in.annotations()
		case "manifests":
			m.entries = []Entry{}
			in.array(func() {
				entry := in.entry()
				m.nested = m.nested || entry.Child != (Child{})
				m.entries = append(m.entries, entry)
				in.declined = in.declined || len(m.entries) > r.limits.Entries || r.checkDescriptor(entry.Descriptor, oci.IsManifestOrIndex(entry.MediaType)) != nil
			})
		default:
			in.declined = true
		}
	})
	if len(data) > pinned*len(m.entries) {
		for i, e := range m.entries {
			m.entries[i] = e.clone()
		}
	}
	return m, !in.declined && m.nested && in.space() == ""
}

// clone is an entry whose strings, but for annotations, are its own.
func (e Entry) clone() Entry {
	e.MediaType, e.Digest, e.ArtifactType = strings.Clone(e.MediaType), digest.Digest(strings.Clone(string(e.Digest))), strings.Clone(e.ArtifactType)
	e.Child.path = strings.Clone(e.Child.path)
	if p := e.Platform; p != nil {
		e.Platform = &ocispec.Platform{Architecture: strings.Clone(p.Architecture), OS: strings.Clone(p.OS),
			OSVersion: strings.Clone(p.OSVersion), Variant: strings.Clone(p.Variant)}
	}
	return e
}

// lowerCase reports whether all keys are in lower case: then another key in
// lower case is none of them in disguise.
func (k Keys) lowerCase() bool {
	for _, keys := range [][]string{k.Annotations, k.Properties} {
		for _, key := range keys {
			if !isLowerCase(key) {
				return false
			}
		}
	}
	return true
}

// isLowerCase reports whether a key is ASCII without capitals.
func isLowerCase(key string) bool {
	for i := range len(key) {
		if c := key[i]; c >= 0x7f || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}

// entry reads a descriptor, and the one child namespace that it states.
func (in *fastReader) entry() Entry {
	var e Entry
	seen := make([]string, 0, fewKeys)
	stated := func(path string) {
		child, err := ParseChild(path)
		in.declined = in.declined || err != nil || e.Child != (Child{}) && e.Child != child
		e.Child = child
	}
	in.object(func(key string) {
		in.once(&seen, key)
		switch key {
		case "mediaType":
			e.MediaType = in.text()
		case "digest":
			e.Digest = digest.Digest(in.text())
		case "size":
			e.Size = in.number()
		case "artifactType":
			e.ArtifactType = in.text()
		case "platform":
			e.Platform = in.platform()
		case "annotations":
			e.Annotations = in.annotations()
			for _, annotation := range in.keys.Annotations {
				if path, ok := e.Annotations[annotation]; ok {
					stated(path)
				}
			}
		default:
			in.declined = true
			for _, property := range in.keys.Properties {
				if key == property && !isKnownKey(key) {
					in.declined = false
					stated(in.text())
				}
			}
		}
	})
	return e
}

func (in *fastReader) platform() *ocispec.Platform {
	var p ocispec.Platform
	seen := make([]string, 0, fewKeys)
	in.object(func(key string) {
		in.once(&seen, key)
		switch key {
		case "architecture":
			p.Architecture = in.text()
		case "os":
			p.OS = in.text()
		case "os.version":
			p.OSVersion = in.text()
		case "variant":
			p.Variant = in.text()
		default:
			in.declined = true
		}
	})
	return &p
}

func (in *fastReader) annotations() map[string]string {
	all := map[string]string{}
	in.object(func(key string) {
		_, twice := all[key]
		in.declined = in.declined || twice || !isLowerCase(key) || !strings.Contains(key, ".")
		all[key] = in.text()
	})
	return all
}

// once declines a key that is there twice; there are few.
func (in *fastReader) once(seen *[]string, key string) {
	in.declined = in.declined || slices.Contains(*seen, key)
	*seen = append(*seen, key)
}

// space skips white space and returns what is left.
func (in *fastReader) space() string {
	for in.rest != "" && (in.rest[0] == ' ' || in.rest[0] == '\n' || in.rest[0] == '\t' || in.rest[0] == '\r') {
		in.rest = in.rest[1:]
	}
	return in.rest
}

// take takes a character that has to be next, after white space.
func (in *fastReader) take(c byte) {
	if in.declined || in.space() == "" || in.rest[0] != c {
		in.declined = true
		return
	}
	in.rest = in.rest[1:]
}

// next reports whether a character is next, after white space.
func (in *fastReader) next(c byte) bool {
	return !in.declined && in.space() != "" && in.rest[0] == c
}

// object reads an object; member reads the value of a key.
func (in *fastReader) object(member func(key string)) {
	in.list('{', '}', func() {
		key := in.text()
		in.take(':')
		if !in.declined {
			member(key)
		}
	})
}

func (in *fastReader) array(element func()) { in.list('[', ']', element) }

func (in *fastReader) list(first, last byte, element func()) {
	in.take(first)
	if in.next(last) {
		in.take(last)
		return
	}
	for !in.declined {
		element()
		if in.next(last) {
			in.take(last)
			return
		}
		in.take(',')
	}
}

func (in *fastReader) text() string {
	in.take('"')
	if in.declined {
		return ""
	}
	for i := range len(in.rest) {
		switch c := in.rest[i]; {
		case c == '"':
			text := in.rest[:i]
			in.rest = in.rest[i+1:]
			return text
		case c < ' ' || c > '~' || c == '\\':
			in.declined = true
			return ""
		}
	}
	in.declined = true
	return ""
}

// fewKeys are those of a descriptor.
const fewKeys = 8

// maxDigits is what fits into 64 bits whatever the digits are.
const maxDigits = 18

func (in *fastReader) number() int64 {
	in.space()
	var n int64
	digits := 0
	for digits < len(in.rest) && in.rest[digits] >= '0' && in.rest[digits] <= '9' && digits <= maxDigits {
		n = 10*n + int64(in.rest[digits]-'0')
		digits++
	}
	if digits == 0 || digits > maxDigits || in.rest[0] == '0' && digits > 1 {
		in.declined = true
		return 0
	}
	in.rest = in.rest[digits:] // a fraction is not among what may follow
	return n
}
