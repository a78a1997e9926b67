package pin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const pinOfWeb = "registry.example.com:5000/org/app/web@sha256:0123"

// pinWeb pins the images whose name is web.
func pinWeb(image string) (string, error) {
	switch name, _, _ := strings.Cut(strings.TrimSpace(image), ":"); name {
	case "web":
		return pinOfWeb, nil
	case "wrong":
		return "", errors.New("wrong")
	}
	return "", nil
}

// What is between « and » is replaced, and nothing else.
func TestOnlyImagesAreReplaced(t *testing.T) {
	replaced := regexp.MustCompile(`(?s)«(.*?)»`)
	for name, text := range map[string]string{
		"empty":                     "",
		"comments only":             "# image: web\n",
		"no end of line":            "image: «web»",
		"carriage returns":          "a: b\rimage: «web»\r# c",
		"line ends of Windows":      "a: b\r\n\r\nimage: &a\r\n  «web»\r\n# c\r\n",
		"line breaks of YAML 1.1":   "a: b\u0085b: \"\u2028\"\nimage: «web»\n",
		"wide characters":           "{ä: \"日本\", 😀: b, image: «web»}",
		"tabs":                      "{\t\"image\":\t\"«web»\"\t}",
		"comments before and after": "# a\n  # b\nimage: # c\n  # d\n  «web»   # web\n# e\n",
		"an anchor on its own line": "image: &a # c\n  # d\n\n  «web»\nother: *a\n",
		"anchor and tag":            "image: &a !!str «web»\nb:\n- image: !!str &b '«web»'\n- image: *b\n",
		"a long tag":                "image: !<tag:yaml.org,2002:str> «web»\n",
		"other tags":                "image: !mine web\n",
		"a tag handle":              "%TAG !y! tag:yaml.org,2002:\n---\nimage: !y!str «web»\n",
		"an anchor elsewhere":       "base: &a «web»\nimage: *a\n",
		"an image volume elsewhere": "a: &v\n  reference: «web»\nimage: *v\n",
		"merged":                    "a: &a {image: «web»}\nb:\n  <<: *a\n  image: '«web:v2»'\n",
		"quoted keys":               "'image': «web»\nb: {\"ima\\x67e\": «web»}\n",
		"escapes":                   "image: \"«w\\x65b»\"\nb: {image: \"«\\\n  web»\"}\n",
		"quotes in quotes":          "- 'a''b'\n- \"a\\\"b\"\n- image: \"«web:it's»\"\n- image: '«web:\"''»'\n- image: \"«web:\\\"»\"\n",
		"space around it":           "image: '« web»'\n",
		"a complex key":             "? image\n: «web»\n",
		"one pair":                  "[image: «web», {image: «web»}]\n",
		"a list in a list":          "- - image: «web»\n  - - image: «web»\n",
		"several documents":         "image: «web»\n---\nimage: «web»\n...\n# c\n%YAML 1.1\n---\nimage: «web»\n--- {image: «web»}\n",
		"in text":                   "a: |\n  image: web\nb: >-\n  image: web\nc: 'image: web'\n# image: web\n",
		"not strings":               "image: [web]\nb: {image: {web: web, reference: {web: web}}}\nc: {image: null}\nd: {reference: web}\n",
		"another in a block":        "image: |\n  worker\n",
		"JSON":                      "{\"a\": 1e400, \"image\" : \"«web»\",\"b\":[{\"image\":{\"reference\":\"«w\\u0065b:\\/»\"}}, \"image\", \"web\"]}",
		"a stream of JSON":          "{\"image\":\"«web»\"} {\"image\":\"«web»\"}\n[[{\"image\":\"«web»\"}]]",
		"no images in JSON":         "{\"image\":[{\"reference\":\"web\"},\"web\"],\"reference\":\"web\",\"c\":{\"image\":null}}",
		"JSON and YAML":             "{\"image\":\"«web»\"}\n---\nimage: «web»\n",
	} {
		in, want := replaced.ReplaceAllString(text, "$1"), replaced.ReplaceAllString(text, pinOfWeb)
		m, err := parse("f", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := m.replaced(pinWeb); err != nil || string(got) != want {
			t.Errorf("%s: %q becomes %q, want %q: %v", name, in, got, want, err)
		}
	}
}

func TestErrorsSayTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\nimage: wrong":                     "f:2: wrong",
		"\n{\"image\":\n\"wrong\"}":              "f:3: wrong",
		"a:\n- image: &a wrong":                  "f:2: wrong",
		"a: b\nimage: |\n  web\n":                "f:2: image web: not a plain or quoted string; write it as one, so that it can be replaced",
		"image: >-\n  web":                       "f:1: image web: not a plain or quoted string; write it as one, so that it can be replaced",
		"\xff\xfea\x00":                          "f: not UTF-8",
		"a: *b":                                  "f: unknown anchor 'b' referenced",
		"image: &b web\n---\nimage: *b":          "f:3: unknown anchor 'b' referenced",
		"a: &b {reference: web}\n---\nimage: *b": "f:3: unknown anchor 'b' referenced",
		"%YAML 1.2\n---\nimage: web":             "f:1: found incompatible YAML document",
		"a: b\nimage: {{ .Values.image }}":       "f:2: a key that is not a string; templates, {{ }}, must be rendered first",
		"a: b\n{{- if .Values.a }}\nb: c":        "f:2: could not find expected ':'; line 2 has a template, {{; templates must be rendered first",
		"{{ include \"a\" . }}\nb: c":            "f:1: a key that is not a string; templates, {{ }}, must be rendered first",
		"a: b\nb: [\n":                           "f:3: did not find expected node content",
		"a: b: c":                                "f:1: mapping values are not allowed in this context",
		"# c\na: b: c":                           "f:2: mapping values are not allowed in this context",
		"a: 'b":                                  "f:1: found unexpected end of stream",
		"a: b\n c: d\n":                          "f:2: mapping values are not allowed in this context",
		"{} {}\n{\"image\":\"web\"} {\"a\":} \n": "f:1: did not find expected <document start>",
		strings.Repeat("[", 20_000):              "f:1: exceeded max depth of 10000",
	} {
		m, err := parse("f", []byte(text))
		if err == nil {
			_, err = m.replaced(pinWeb)
		}
		if err == nil || err.Error() != want {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

// What is written parses, and differs in the values of images only.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"# c\nimage: &a !!str web # d\nb:\n- image: 'web:v1'\n- {image: \"we\\x62\", c: *a}\n---\nimage: {reference: web}\n",
		"{\"image\":\"web\"}\n{\"image\":{\"reference\":\"w\\u0065b\"}}",
		"a: |+\n  b\r\nimage: >\n  c\nimage:\n  web\u2028\nä: {image: web}",
		"? &k image\n: web\n*k : web\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := parse("f", text)
		if err != nil {
			return
		}
		text, err = in.replaced(pinWeb)
		if err != nil {
			return
		}
		out, err := parse("f", text)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", in.text, out.text, err)
		}
		want, got := pieces(t, in, pinWeb), pieces(t, out, func(image string) (string, error) { return image, nil })
		if !slices.Equal(want, got) {
			t.Fatalf("%q becomes %q:\n%q\n%q", in.text, out.text, want, got)
		}
	})
}

// pieces are what a stream consists of, with its images pinned.
func pieces(t *testing.T, m *Stream, pin func(string) (string, error)) (pieces []string) {
	pinned := func(image string) string {
		value, err := pin(image)
		if err != nil {
			t.Fatal(err)
		}
		return cmp.Or(value, image)
	}
	if (&Stream{text: m.text}).parseJSON() {
		return jsonPieces(t, m, pinned)
	}
	decoder := yaml.NewDecoder(io.MultiReader(strings.NewReader(lead), bytes.NewReader(m.text)))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return pieces
		}
		if err != nil {
			t.Fatal(err)
		}
		found := newFinder()
		if err := found.walk(&document); err != nil {
			t.Fatal(err)
		}
		for _, image := range found.images {
			image.Value = pinned(image.Value)
		}
		pieces = append(pieces, yamlPieces(&document)...)
	}
}

func yamlPieces(n *yaml.Node) []string {
	pieces := []string{fmt.Sprint(n.Kind, n.Style), n.Tag, n.Value, n.Anchor, n.HeadComment, n.LineComment, n.FootComment}
	for _, child := range n.Content {
		pieces = append(pieces, yamlPieces(child)...)
	}
	return append(pieces, "end")
}

func jsonPieces(t *testing.T, m *Stream, pinned func(string) string) (pieces []string) {
	images := map[int64]bool{} // by the ends of their quotes
	for _, image := range m.images {
		images[int64(image.end)+1] = true
	}
	decoder := json.NewDecoder(bytes.NewReader(m.text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return pieces
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(string); ok && images[decoder.InputOffset()] {
			token = pinned(text)
		}
		pieces = append(pieces, fmt.Sprintf("%T %v", token, token))
	}
}
