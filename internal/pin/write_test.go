package pin

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestStreamsAreJoined(t *testing.T) {
	for want, texts := range map[string][]string{
		"":                                   {"", ""},
		"a: b":                               {"", "a: b", ""},
		"a: b\n---\nc: d\n":                  {"a: b", "c: d\n"},
		"a: b\r\nc: d\r\n---\ne: f":          {"a: b\r\nc: d", "e: f"},
		"a: b\n---\tc\n":                     {"a: b\n", "---\tc\n"},
		"a: b\n---\n---c\n":                  {"a: b\n", "---c\n"},
		"a: b\n# c\n\n  # d\n---\r\ne: f":    {"a: b\n", "# c\n\n  # d\n---\r\ne: f"},
		"a: b\n...\n%YAML 1.1\n---\nc: d":    {"a: b", "%YAML 1.1\n---\nc: d"},
		"a: b\n...\n---\nc: d\n":             {"a: b\n...\n", "c: d\n"},
		"a: b\n---\n# c\n":                   {"a: b\n", "# c\n"},
		"{\"a\":1}\n---\n{\"b\":2}\n---\n[]": {"{\"a\":1}", "{\"b\":2}\n", "[]"},
	} {
		var parts [][]byte
		for _, text := range texts {
			parts = append(parts, []byte(text))
		}
		if got := join(parts); string(got) != want {
			t.Errorf("%q become %q, want %q", texts, got, want)
		}
	}
}

func TestByteOrderMarkStaysAtTheBeginningOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marked.yaml")
	if err := os.WriteFile(path, []byte("\ufeffimage: web\na: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	streams, err := Read(t.Context(), nil, []string{path, path})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Write(&out, streams, pinWeb); err != nil {
		t.Fatal(err)
	}
	pinned := "image: " + pinOfWeb + "\na: b\n"
	if want := "\ufeff" + pinned + "---\n" + pinned; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
