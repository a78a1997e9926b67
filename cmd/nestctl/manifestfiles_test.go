package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nestedoci/nested/remotes/auth"
)

func TestJoinManifests(t *testing.T) {
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
		if got := joinManifests(parts); string(got) != want {
			t.Errorf("%q become %q, want %q", texts, got, want)
		}
	}
}

// TestByteOrderMark: it stays at the beginning of a stream, and goes further down.
func TestByteOrderMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marked.yaml")
	if err := os.WriteFile(path, []byte("\ufeffimage: web\na: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	manifests, err := readManifests(t.Context(), nil, []string{path, path})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printManifests(&out, manifests, pinWeb); err != nil {
		t.Fatal(err)
	}
	pinned := "image: " + pinOfWeb + "\na: b\n"
	if want := "\ufeff" + pinned + "---\n" + pinned; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestManifestsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.yaml")
	half := "# " + strings.Repeat("x", maxManifests/2) + "\n"
	if err := os.WriteFile(path, []byte(half), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readManifests(t.Context(), endless{}, []string{path, "-"})
	if want := "standard input: more than 8.0 MiB of manifests"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestReadInterrupted: a standard input on which nothing comes keeps nobody.
func TestReadInterrupted(t *testing.T) {
	in, far := io.Pipe()
	defer far.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := errors.New("interrupt")
	cancel(interrupt)
	if _, err := readManifests(ctx, in, []string{"-"}); !errors.Is(err, interrupt) {
		t.Errorf("manifests: %v", err)
	}
	if err := provideCredential(ctx, auth.Sources{}, in, io.Discard); !errors.Is(err, interrupt) {
		t.Errorf("request: %v", err)
	}
}

// endless is a stream without an end.
type endless struct{}

var _ io.Reader = endless{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	return len(p), nil
}
