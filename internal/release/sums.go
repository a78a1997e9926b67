package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	repository = "https://github.com/nestedoci/nested"
	sumsFile   = "SHA256SUMS"
	provenance = "provenance.json"
)

// sums writes the provenance of all that is in dist/, and then the checksums of all, the provenance's too.
func (s source) sums(ctx context.Context) error {
	dist := filepath.Join(s.root, "dist")
	for _, made := range []string{sumsFile, provenance} {
		if err := os.RemoveAll(filepath.Join(dist, made)); err != nil {
			return err
		}
	}
	files, err := digests(dist)
	if err != nil {
		return err
	}
	statement, err := s.statement(ctx, files)
	if err != nil {
		return err
	}
	err = create(filepath.Join(dist, provenance), func(w io.Writer) error {
		text := json.NewEncoder(w)
		text.SetIndent("", "  ")
		return text.Encode(statement)
	})
	if err != nil {
		return err
	}
	own, err := digestOf(dist, provenance)
	if err != nil {
		return err
	}
	files = append(files, own)
	slices.SortFunc(files, func(a, b resource) int { return strings.Compare(a.Name, b.Name) })
	return create(filepath.Join(dist, sumsFile), func(w io.Writer) error {
		for _, f := range files {
			if _, err := fmt.Fprintf(w, "%s  %s\n", f.Digest["sha256"], f.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// resource is a ResourceDescriptor of in-toto.
type resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// digests are those of the files of a directory, sorted by their names.
func digests(dir string) ([]resource, error) {
	var all []resource
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		r, err := digestOf(dir, name)
		all = append(all, r)
		return err
	})
	return all, err
}

func digestOf(dir, name string) (resource, error) {
	content, err := os.ReadFile(filepath.Join(dir, name))
	return resource{Name: name, Digest: map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256(content))}}, err
}

// statement is a statement of in-toto, version 1, with SLSA's provenance, version 1. Neither has a time: a release that
// is built again has the same bytes. RELEASE_BUILDER is the URI of who builds, such as that of a workflow.
func (s source) statement(ctx context.Context, subjects []resource) (map[string]any, error) {
	goVersion, err := s.command(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return nil, err
	}
	ref := "HEAD"
	if s.tagged {
		ref = "refs/tags/" + s.version
	}
	return map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       subjects,
		"predicateType": "https://slsa.dev/provenance/v1",
		"predicate": map[string]any{
			"buildDefinition": map[string]any{
				"buildType":          repository + "/blob/main/docs/release.md",
				"externalParameters": map[string]any{"repository": repository, "ref": ref, "version": s.version},
				"internalParameters": map[string]any{"go": strings.TrimSpace(string(goVersion)), "tags": s.tags},
				"resolvedDependencies": []resource{
					{URI: "git+" + repository + "@" + ref, Digest: map[string]string{"gitCommit": s.commit}},
				},
			},
			"runDetails": map[string]any{
				"builder": map[string]any{"id": cmp.Or(os.Getenv("RELEASE_BUILDER"), repository+"/blob/main/docs/release.md#make-a-release")},
			},
		},
	}, nil
}
