package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// page is a text that a program has about itself.
type page struct {
	name string // in archives: completions/nestctl.bash, man/nestctl.1
	at   string // in packages; empty for those that Linux has no use for
	text []byte
}

// pages returns the manual pages and completions of each program that has any, as it writes them here.
func (s source) pages(ctx context.Context) (map[string][]page, error) {
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	nestctl := filepath.Join(dir, "nestctl")
	build := s.command(ctx, "go", "build", "-trimpath", "-ldflags=-X main.version="+s.version, "-o", nestctl, "./cmd/nestctl")
	build.Env = append(build.Env, "CGO_ENABLED=0")
	if err = build.Run(); err != nil {
		return nil, fmt.Errorf("nestctl for this machine: %w", err)
	}
	all, err := s.completions(ctx, nestctl)
	if err != nil {
		return nil, err
	}
	manual, err := s.manual(ctx, nestctl, filepath.Join(dir, "man"))
	return map[string][]page{"nestctl": append(all, manual...)}, err
}

// completions are in the directories that Debian's, Fedora's and SUSE's shells read alike.
func (s source) completions(ctx context.Context, nestctl string) ([]page, error) {
	var all []page
	for _, c := range []struct{ shell, name, at string }{
		{"bash", "nestctl.bash", "/usr/share/bash-completion/completions/nestctl"},
		{"zsh", "_nestctl", "/usr/share/zsh/site-functions/_nestctl"},
		{"fish", "nestctl.fish", "/usr/share/fish/vendor_completions.d/nestctl.fish"},
		{"powershell", "nestctl.ps1", ""},
	} {
		text, err := s.command(ctx, nestctl, "completion", c.shell).Output()
		if err != nil {
			return nil, fmt.Errorf("completion for %s: %w", c.shell, err)
		}
		all = append(all, page{name: "completions/" + c.name, at: c.at, text: text})
	}
	return all, nil
}

func (s source) manual(ctx context.Context, nestctl, dir string) ([]page, error) {
	if err := s.command(ctx, nestctl, "manual", dir).Run(); err != nil {
		return nil, fmt.Errorf("manual pages: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []page
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, page{name: "man/man1/" + e.Name(), at: "/usr/share/man/man1/" + e.Name() + ".gz", text: text})
	}
	return all, nil
}

// packed is the text as packages have it: manual pages are compressed.
func (p page) packed() ([]byte, error) {
	if filepath.Ext(p.at) != ".gz" {
		return p.text, nil
	}
	var out bytes.Buffer
	w := newGzip(&out)
	_, err := w.Write(p.text)
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}
