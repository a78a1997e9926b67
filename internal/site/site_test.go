package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSite: the site of this repository has all its documents, and no link in it leads nowhere.
func TestSite(t *testing.T) {
	out := t.TempDir()
	if err := build("../..", out, "https://example.com/blob/main/"); err != nil {
		t.Fatal(err)
	}
	files, err := markdownFiles("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if _, err := os.Stat(filepath.Join(out, at(file))); err != nil {
			t.Errorf("%s has no page: name it, or its directory, in order", file)
		}
	}
	for _, asset := range []string{"<script", "http-equiv", "@import", "url("} {
		if n := count(t, out, asset); n > 0 {
			t.Errorf("%d pages have %s: the site needs nothing from elsewhere, and no scripts", n, asset)
		}
	}
}

// TestSiteIsNotInDist: make site writes to a directory that git ignores, and not to dist/, which make release empties.
func TestSiteIsNotInDist(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-n", "-C", "../..", "site")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=")
	commands, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile("../../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(commands), " -out "+root+"/site\n") || !strings.Contains(string(ignored), "\n/site/\n") {
		t.Errorf("make site runs %sand git ignores\n%s", commands, ignored)
	}
}

func count(t *testing.T, dir, part string) int {
	t.Helper()
	n := 0
	for _, pattern := range []string{"*.html", "docs/*.html", "docs/*/*.html", "*.css"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), part) {
				n++
			}
		}
	}
	return n
}

// repository makes a repository of documents.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestPages: links between documents become links between pages, those to other files lead to the repository, and
// headings have GitHub's names.
func TestPages(t *testing.T) {
	root := repository(t, map[string]string{
		"README.md":                "# One\n\n[guide](docs/guides/a.md#who-is-it-for), [reference](docs/reference), [code](main.go#L3)\n",
		"docs/guides/a.md":         "# `A` guide\n\n## Who is it, for?\n\n## Same\n\n## Same\n\n[up](../../README.md) [here](#same-1) ![p](../p.svg) ![d](../dark.svg)\n\n| a | b |\n|---|---|\n| <b id=\"raw\">1</b> | 2 |\n",
		"docs/reference/README.md": "# All\n\n[raw](../guides/a.md#raw)\n",
		"docs/unnamed.md":          "# Unnamed\n",
		"docs/p.svg":               "<svg/>",
		"docs/dark.svg":            "<svg><style>@media (prefers-color-scheme: dark) {}</style></svg>",
		"main.go":                  "package main\n",
	})
	out := filepath.Join(t.TempDir(), "site")
	if err := build(root, out, "https://example.com/blob/main/"); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"index.html": {`href="docs/guides/a.html#who-is-it-for"`, `href="docs/reference/index.html"`, `href="https://example.com/blob/main/main.go#L3"`, `<a href="index.html" aria-current="page">Overview</a>`},
		"docs/guides/a.html": {`href="../../index.html"`, `<h2 id="same-1">`, `<img src="../../docs/p.svg" alt="p" class="paper">`, `<img src="../../docs/dark.svg" alt="d">`, `href="../../style.css"`, `<title>A guide · nested</title>`,
			`<a href="#who-is-it-for">Who is it, for?</a>`, `<div class="scroll"><table>`},
		"docs/unnamed.html": {"Unnamed"},
	} {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %s in\n%s", name, want, text)
			}
		}
	}
}

// TestBrokenLinks: a link that leads nowhere ends the command, and is named.
func TestBrokenLinks(t *testing.T) {
	for text, want := range map[string]string{
		"[x](docs/gone.md)":             "link to docs/gone.md: there is no docs/gone.md",
		"[x](../outside.md)":            "link to ../outside.md",
		"![x](docs/gone.svg)":           "link to docs/gone.svg",
		"[x](#gone)":                    "index.html: #gone: there is no such heading",
		"[x](docs/a.md#gone)":           "index.html: docs/a.html#gone: there is no such heading",
		`<img src="docs/gone.png">`:     "index.html: docs/gone.png: there is no such file",
		"<a id=\"x\"></a><a id=\"x\">b": "two headings are called x",
	} {
		root := repository(t, map[string]string{"README.md": "# One\n\n" + text + "\n", "docs/a.md": "# A\n"})
		err := build(root, filepath.Join(t.TempDir(), "site"), "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	root := repository(t, map[string]string{"README.md": "no title\n", "docs/a.md": "# A\n"})
	if err := build(root, filepath.Join(t.TempDir(), "site"), ""); err == nil || !strings.Contains(err.Error(), "README.md: no title") {
		t.Errorf("no title: %v", err)
	}
}
