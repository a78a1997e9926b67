package pin

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/contextio"
)

// maxSize bounds all files of a run together, in bytes; parsing takes seventy
// times that.
const maxSize = 8 << 20

// Read reads Kubernetes manifests, up to 8 MiB in all. paths name files;
// directories, for the *.yaml, *.yml and *.json in them, by name; and "-", at
// most once, for stdin. It returns a stream for each file, in the order of
// paths. It returns the cause of ctx's end even when a pipe waits for a writer.
func Read(ctx context.Context, stdin io.Reader, paths []string) ([]*Stream, error) {
	texts, err := ReadTexts(ctx, stdin, paths, "Kubernetes manifests")
	if err != nil {
		return nil, err
	}
	streams := make([]*Stream, len(texts))
	for i, t := range texts {
		if streams[i], err = parse(t.Name, t.Bytes); err != nil {
			return nil, err
		}
	}
	return streams, nil
}

// Text is the text of a file, and the file's name for errors.
type Text struct {
	Name  string
	Bytes []byte
}

// ReadTexts is [Read] without looking into the files, which are called what in
// errors.
func ReadTexts(ctx context.Context, stdin io.Reader, paths []string, what string) ([]Text, error) {
	files, err := filesOf(paths)
	if err != nil {
		return nil, err
	}
	texts := make([]Text, len(files))
	left := maxSize
	for i, path := range files {
		name := path
		if path == "-" {
			name = "standard input"
		}
		text, err := readUpTo(ctx, stdin, path, left)
		if err != nil {
			return nil, err
		}
		if left -= len(text); left < 0 {
			return nil, fmt.Errorf("%s: %s of more than %s", name, what, amount.Bytes(maxSize))
		}
		texts[i] = Text{name, text}
	}
	return texts, nil
}

// readUpTo reads a file, and no more of it than shows that it is too large.
func readUpTo(ctx context.Context, stdin io.Reader, path string, most int) ([]byte, error) {
	if path != "-" {
		return contextio.ReadFile(ctx, path, int64(most)+1)
	}
	return contextio.ReadAll(ctx, io.LimitReader(stdin, int64(most)+1))
}

// filesOf replaces directories by their files.
func filesOf(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		if path == "-" {
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
		inside, err := filesIn(path)
		if err != nil {
			return nil, err
		}
		files = append(files, inside...)
	}
	return files, nil
}

// filesIn are the files with manifests in a directory, by name.
func filesIn(dir string) ([]string, error) {
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
		info, err := os.Stat(path) // of what a link leads to, as in a ConfigMap's volume
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
