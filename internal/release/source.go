package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// source is what is released.
type source struct {
	root    string // the repository's directory
	version string // with its v
	tagged  bool   // not a snapshot
	commit  string
	time    time.Time // of the commit; of every file of the release
	tags    string    // build tags of all programs
}

// readSource checks that a version is what is checked out here. Of a snapshot only the version's form is checked.
func readSource(ctx context.Context, version string, snapshot bool) (source, error) {
	root, err := git(ctx, "", "rev-parse", "--show-toplevel")
	if err != nil {
		return source{}, err
	}
	s := source{root: root, version: version, tagged: !snapshot}
	if canonical := semver.Canonical(s.version); canonical == "" || canonical != s.version {
		return s, fmt.Errorf("version %q: is not a semantic version; use VERSION=v1.2.3, or VERSION=v1.2.3-rc.1", version)
	}
	if !snapshot {
		if err = checkTag(ctx, root, s.version); err != nil {
			return s, err
		}
	}
	if s.commit, err = git(ctx, root, "rev-parse", "HEAD"); err != nil {
		return s, err
	}
	seconds, err := git(ctx, root, "log", "-1", "--format=%ct")
	if err != nil {
		return s, err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	s.time = time.Unix(unix, 0).UTC()
	return s, err
}

// checkTag refuses what nobody could build again from the tag.
func checkTag(ctx context.Context, root, tag string) error {
	const snapshot = ", or build a snapshot with SNAPSHOT=1"
	changed, err := git(ctx, root, "status", "--porcelain", "--untracked-files=all") // whatever git config says
	if err != nil {
		return err
	}
	if changed != "" {
		return errors.New("working tree: has changes that are not committed; commit or remove them" + snapshot + ":\n" + changed)
	}
	tagged, err := git(ctx, root, "rev-parse", "--verify", "--quiet", "refs/tags/"+tag+"^{commit}")
	if err != nil {
		return fmt.Errorf("tag %s: there is none; make it with git tag -s %[1]s"+snapshot, tag)
	}
	head, err := git(ctx, root, "rev-parse", "HEAD")
	if err == nil && head != tagged {
		err = fmt.Errorf("tag %s: is commit %.12s, and HEAD is %.12s; use git checkout %[1]s"+snapshot, tag, tagged, head)
	}
	return err
}

// checkGo notes that go.mod names another Go, with which a release has other bytes.
func (s source) checkGo(ctx context.Context) error {
	out, err := s.command(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(s.root, "go.mod"))
	if err != nil {
		return err
	}
	version := strings.TrimSpace(string(out))
	if named := toolchain.FindSubmatch(mod); named != nil && string(named[1]) != version {
		fmt.Fprintf(os.Stderr, "note: builds with %s, where go.mod names %s; only the same Go gives the same bytes\n", version, named[1])
	}
	return nil
}

// command returns a command in the repository's directory, which sees the time of the release.
func (s source) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.root
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.time.Unix()))
	return cmd
}

// git returns the output of git in a directory.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("git %s: %s", args[0], strings.TrimSpace(string(failed.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// toolchain is a line of go.mod.
var toolchain = regexp.MustCompile(`(?m)^toolchain (go\S+)$`)
