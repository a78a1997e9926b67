package reference_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEnvironment: each variable that the code reads by name, and each file of ours, is in docs/reference/environment.md.
func TestEnvironment(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "reference", "environment.md"))
	if err != nil {
		t.Fatal(err)
	}
	patterns := []*regexp.Regexp{
		regexp.MustCompile(`(?:Getenv|LookupEnv|inHome|\benv|\.get)\("([A-Z_]+)"`),
		regexp.MustCompile(`const inline\w* = "([A-Z_]+)"`),
		regexp.MustCompile(`"(/(?:etc|var/lib)/nested[^"]*)"`),
	}
	found := map[string]bool{}
	dirs, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, pattern := range patterns {
				for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
					if !strings.HasSuffix(path, "_test.go") {
						found[m[1]] = true
					}
				}
			}
		}
	}
	for name := range found {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/reference/environment.md does not have %s", name)
		}
	}
	if len(found) < 20 {
		t.Errorf("only %d variables and files were found: %v", len(found), found)
	}
}

// TestJSONPage: docs/reference/json.md names each schema.
func TestJSONPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "reference", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range schemas {
		if !strings.Contains(string(page), "(schemas/"+of.Name+".json)") {
			t.Errorf("docs/reference/json.md does not have %s.json", of.Name)
		}
	}
}
