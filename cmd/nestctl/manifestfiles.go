package main

import (
	"bytes"
	"context"
	"fmt"
	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/usage"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// maxManifests is the size of all manifests of a run together; read, they take seventy times that.
const maxManifests = 8 << 20

// byteOrderMark may begin a file, but not a document further down a stream.
var byteOrderMark = []byte("\ufeff")

// readManifests reads files, directories and "-", standard input, in order.
func readManifests(ctx context.Context, stdin io.Reader, paths []string) ([]*manifest, error) {
	files, err := manifestFiles(paths)
	if err != nil {
		return nil, err
	}
	manifests := make([]*manifest, len(files))
	left := maxManifests
	for i, path := range files {
		name := path
		if path == "-" {
			name = "standard input"
		}
		text, err := readManifest(ctx, stdin, path, left)
		if err != nil {
			return nil, err
		}
		if left -= len(text); left < 0 {
			return nil, fmt.Errorf("%s: more than %s of manifests", name, amount.Bytes(maxManifests))
		}
		if manifests[i], err = parseManifest(name, bytes.TrimPrefix(text, byteOrderMark)); err != nil {
			return nil, err
		}
		manifests[i].marked = bytes.HasPrefix(text, byteOrderMark)
	}
	return manifests, nil
}

// readManifest reads a file, and no more than shows that it is too large.
func readManifest(ctx context.Context, stdin io.Reader, path string, most int) ([]byte, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		stdin = file
	}
	return readAll(ctx, io.LimitReader(stdin, int64(most)+1))
}

// manifestFiles puts the manifests of directories in their place.
func manifestFiles(paths []string) ([]string, error) {
	var files []string
	for i, path := range paths {
		if path == "-" {
			if slices.Contains(paths[:i], path) {
				return nil, usage.Errorf("--filename -: standard input can be read once only")
			}
			files = append(files, path)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		inside, err := manifestsIn(path)
		if err != nil {
			return nil, err
		}
		files = append(files, inside...)
	}
	return files, nil
}

// manifestsIn are the manifests in a directory, by name.
func manifestsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // of what a link leads to
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, path)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no *.yaml, *.yml or *.json in it", dir)
	}
	return files, nil
}

// joinManifests makes one stream of several.
func joinManifests(texts [][]byte) []byte {
	var out []byte
	for _, text := range texts {
		if len(out) > 0 && len(text) > 0 {
			out = append(endLine(out), separator(text)...)
		}
		out = append(out, text...)
	}
	return out
}

// endLine ends the last line, as the one before it ends.
func endLine(text []byte) []byte {
	last := bytes.LastIndexByte(text, '\n')
	switch {
	case last == len(text)-1:
		return text
	case last > 0 && text[last-1] == '\r':
		return append(text, "\r\n"...)
	}
	return append(text, '\n')
}

// separator is what ends the document before a text.
func separator(text []byte) string {
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, " \t\r\n")
		switch {
		case len(line) == 0 || bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")):
			continue
		case bytes.Equal(line, []byte("---")) || bytes.HasPrefix(line, []byte("--- ")) || bytes.HasPrefix(line, []byte("---\t")):
			return ""
		case line[0] == '%': // directives come after an end only
			return "...\n"
		}
		break
	}
	return "---\n"
}
