package nested

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
)

// regular reads nested indexes of the form that everybody writes, fast: JSON in
// printable ASCII without escapes, known keys only, each once and in its own
// case, no null. Whatever is not of this form, and whatever is wrong in any
// way, it leaves to decode, which says what it is; what it reads it reads as
// decode does (FuzzRegular).
type regular struct {
	rest  string
	keys  Keys
	ended bool // by something that is not regular
}

// pinned is how much of a document's text may be kept with each entry of it:
// more than what is usual, and less than what a pull could not hold of each of
// its documents.
const pinned = 1 << 10

// readRegular reads a nested index. The entries' strings are parts of one copy
// of the data, unless there is much more in that.
func (r Rule) readRegular(mediaType string, data []byte) (document, bool) {
	if int64(len(data)) > r.limits.Document || !r.keys.regular() {
		return document{}, false
	}
	in := &regular{rest: string(data), keys: r.keys}
	doc := document{nested: false}
	seen := make([]string, 0, fewKeys)
	in.object(func(key string) {
		in.once(&seen, key)
		switch key {
		case "schemaVersion":
			in.number()
		case "mediaType":
			in.ended = in.text() != mediaType || in.ended
		case "artifactType":
			in.text()
		case "annotations":
			in.annotations()
		case "manifests":
			doc.entries = []Entry{}
			in.array(func() {
				entry := in.entry()
				doc.nested = doc.nested || entry.Child != (Child{})
				doc.entries = append(doc.entries, entry)
				in.ended = in.ended || len(doc.entries) > r.limits.Entries || r.checkDescriptor(entry.Descriptor, oci.IsManifestOrIndex(entry.MediaType)) != nil
			})
		default:
			in.ended = true
		}
	})
	if len(data) > pinned*len(doc.entries) {
		for i, e := range doc.entries {
			doc.entries[i] = e.own()
		}
	}
	return doc, !in.ended && doc.nested && in.space() == ""
}

// own is an entry whose strings, but for annotations, are its own.
func (e Entry) own() Entry {
	e.MediaType, e.Digest, e.ArtifactType = strings.Clone(e.MediaType), digest.Digest(strings.Clone(string(e.Digest))), strings.Clone(e.ArtifactType)
	e.Child.path = strings.Clone(e.Child.path)
	if p := e.Platform; p != nil {
		e.Platform = &ocispec.Platform{Architecture: strings.Clone(p.Architecture), OS: strings.Clone(p.OS),
			OSVersion: strings.Clone(p.OSVersion), Variant: strings.Clone(p.Variant)}
	}
	return e
}

// regular tells whether a key in lower case with a dot in it is ambiguous only
// if it is there twice.
func (k Keys) regular() bool {
	for _, keys := range [][]string{k.Annotations, k.Properties} {
		for _, key := range keys {
			if !isPlainKey(key) {
				return false
			}
		}
	}
	return true
}

// isPlainKey tells whether a key is in lower case.
func isPlainKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; c >= 0x7f || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}

// entry reads a descriptor, and the one child namespace that it states.
func (in *regular) entry() Entry {
	var e Entry
	seen := make([]string, 0, fewKeys)
	stated := func(path string) {
		child, err := ParseChild(path)
		in.ended = in.ended || err != nil || e.Child != (Child{}) && e.Child != child
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
			in.ended = true
			for _, property := range in.keys.Properties {
				if key == property && !isDocumentKey(key) {
					in.ended = false
					stated(in.text())
				}
			}
		}
	})
	return e
}

func (in *regular) platform() *ocispec.Platform {
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
			in.ended = true
		}
	})
	return &p
}

func (in *regular) annotations() map[string]string {
	all := map[string]string{}
	in.object(func(key string) {
		_, twice := all[key]
		in.ended = in.ended || twice || !isPlainKey(key) || !strings.Contains(key, ".")
		all[key] = in.text()
	})
	return all
}

// once ends it when a key is there twice; there are few.
func (in *regular) once(seen *[]string, key string) {
	in.ended = in.ended || slices.Contains(*seen, key)
	*seen = append(*seen, key)
}

// space skips white space and returns what is left.
func (in *regular) space() string {
	for in.rest != "" && (in.rest[0] == ' ' || in.rest[0] == '\n' || in.rest[0] == '\t' || in.rest[0] == '\r') {
		in.rest = in.rest[1:]
	}
	return in.rest
}

// take takes a character that has to be next, after white space.
func (in *regular) take(c byte) {
	if in.ended || in.space() == "" || in.rest[0] != c {
		in.ended = true
		return
	}
	in.rest = in.rest[1:]
}

// next tells whether a character is next, after white space.
func (in *regular) next(c byte) bool {
	return !in.ended && in.space() != "" && in.rest[0] == c
}

// object reads an object; member reads the value of a key.
func (in *regular) object(member func(key string)) {
	in.list('{', '}', func() {
		key := in.text()
		in.take(':')
		if !in.ended {
			member(key)
		}
	})
}

func (in *regular) array(element func()) { in.list('[', ']', element) }

func (in *regular) list(first, last byte, element func()) {
	in.take(first)
	if in.next(last) {
		in.take(last)
		return
	}
	for !in.ended {
		element()
		if in.next(last) {
			in.take(last)
			return
		}
		in.take(',')
	}
}

func (in *regular) text() string {
	in.take('"')
	if in.ended {
		return ""
	}
	for i := range len(in.rest) {
		switch c := in.rest[i]; {
		case c == '"':
			text := in.rest[:i]
			in.rest = in.rest[i+1:]
			return text
		case c < ' ' || c > '~' || c == '\\':
			in.ended = true
			return ""
		}
	}
	in.ended = true
	return ""
}

// fewKeys are those of a descriptor.
const fewKeys = 8

// maxDigits is what fits into 64 bits whatever the digits are.
const maxDigits = 18

func (in *regular) number() int64 {
	in.space()
	var n int64
	digits := 0
	for digits < len(in.rest) && in.rest[digits] >= '0' && in.rest[digits] <= '9' && digits <= maxDigits {
		n = 10*n + int64(in.rest[digits]-'0')
		digits++
	}
	if digits == 0 || digits > maxDigits || in.rest[0] == '0' && digits > 1 {
		in.ended = true
		return 0
	}
	in.rest = in.rest[digits:] // a fraction is not among what may follow
	return n
}
