// Command release builds what a release consists of, the same bytes each time, into dist/ of the repository. `make
// release` runs it (docs/release.md). It is a module of its own: no user of the library needs what makes packages.
//
// main.go has the two steps and their flags; source.go says what may be released; programs.go builds the programs, and
// pages.go their manual and completions; archive.go, packages.go and sbom.go make a file of each kind; sums.go writes
// what a user verifies them all with.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// run does one of two steps: what else belongs into a release, such as the image, is put into dist/ between them.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	version := flags.String("version", "", "the release: v1.2.3, a tag of HEAD")
	snapshot := flags.Bool("snapshot", false, "build what is there, whether or not it is committed and tagged")
	tags := flags.String("tags", "", "build tags of the programs")
	platforms := flags.String("platforms", "", "for which platforms: linux/amd64 …")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := readSource(ctx, *version, *snapshot)
	if err != nil {
		return err
	}
	s.tags = *tags
	switch step := flags.Arg(0); step {
	case "files":
		return s.files(ctx, strings.Fields(*platforms))
	case "sums":
		return s.sums(ctx)
	default:
		return fmt.Errorf("step %q: must be files or sums", step)
	}
}

// files makes the archives, packages and SBOMs of all programs.
func (s source) files(ctx context.Context, platforms []string) error {
	dist := filepath.Join(s.root, "dist")
	for _, former := range []string{dist, filepath.Join(s.root, "bin", "release")} {
		if err := os.RemoveAll(former); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dist, 0o755); err != nil { //nolint:gosec // releases are for everybody
		return err
	}
	all, err := builds(platforms)
	if err != nil {
		return err
	}
	if err = s.checkGo(ctx); err != nil {
		return err
	}
	pages, err := s.pages(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		fmt.Println(b.name, b.platform)
		if err = s.build(ctx, b); err != nil {
			return err
		}
		if err = s.filesOf(b, pages[b.name]); err != nil {
			return fmt.Errorf("%s for %s: %w", b.name, b.platform, err)
		}
	}
	return nil
}

func (s source) filesOf(b build, pages []page) error {
	if err := s.archive(b, pages); err != nil {
		return err
	}
	if err := s.sbom(b); err != nil {
		return err
	}
	if b.os != "linux" {
		return nil
	}
	return s.packages(b, pages)
}
