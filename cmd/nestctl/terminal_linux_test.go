package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/internal/terminaltest"
)

// published is a bundle of two members whose layers are large enough to be seen on their way.
func published(t *testing.T) *registrytest.Registry {
	t.Helper()
	quiet(t)
	r := clienttest.NewRegistry(t)
	large := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(large) // it is compressed
	web, worker := r.Image("org/app/web", large), r.Image("org/app/worker", registrytest.TarLayer(map[string]string{"a": "b"}))
	r.Tag("org/app", "v1", r.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(worker, "worker")).Digest)
	return r
}

// shownOn runs a command whose output and errors go to a terminal, until they have been seen.
func shownOn(t *testing.T, columns int, args ...string) (screen, output string) {
	t.Helper()
	terminal := terminaltest.Open(t, columns)
	args = append(args, "--plain-http", "--hosts-dir=")
	if status := run(t.Context(), args, terminal.File, terminal.File); status != 0 {
		t.Errorf("%s: exit status %d", args, status)
	}
	const last = "that was all"
	_, err := terminal.WriteString(last)
	clienttest.NoError(t, err)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if screen, output = terminal.Seen(); strings.HasSuffix(screen, last) {
			break
		}
	}
	return strings.TrimSuffix(screen, "\n"+last), strings.TrimSuffix(output, last)
}

var colour = regexp.MustCompile("\x1b\\[\\d*m")

// TestOnTerminal: colours and cut digests on a terminal, by the conventions for both; a pipe gets the same text without.
func TestOnTerminal(t *testing.T) {
	r := published(t)
	ref := r.Host() + "/org/app:v1"
	for _, name := range []string{"NO_COLOR", "CLICOLOR_FORCE"} {
		t.Setenv(name, "")
	}
	t.Setenv("TERM", "xterm-256color")
	for _, command := range [][]string{{"tree", ref}, {"check", ref}, {"copy", "--dry-run", ref, "reg.invalid/prod/app"}} {
		var pipe, errs bytes.Buffer
		if status := run(t.Context(), append(command, "--plain-http", "--hosts-dir="), &pipe, &errs); status != 0 || strings.ContainsAny(pipe.String(), "\x1b…") {
			t.Errorf("%s: in a pipe: %d, %q%s", command, status, &pipe, &errs)
		}
		wide, output := shownOn(t, 500, command...)
		if wide != strings.TrimRight(pipe.String(), "\n") {
			t.Errorf("%s: on a wide terminal\n%s\nin a pipe\n%s", command, wide, &pipe)
		}
		if !colour.MatchString(output) && command[0] != "copy" {
			t.Errorf("%s: no colours: %q", command, output)
		}
		narrow, _ := shownOn(t, 70, command...)
		if digests := regexp.MustCompile(`sha256:\w{12}…`); !digests.MatchString(narrow) && command[0] != "check" {
			t.Errorf("%s: on a narrow terminal\n%s", command, narrow)
		}
		t.Setenv("NO_COLOR", "1")
		if _, output = shownOn(t, 500, command...); colour.MatchString(output) {
			t.Errorf("%s: colours with NO_COLOR: %q", command, output)
		}
		t.Setenv("NO_COLOR", "")
	}
}

// TestForeignTextOnTerminal: with colours, too, the only sequences are the program's own.
func TestForeignTextOnTerminal(t *testing.T) {
	quiet(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	r := registrytest.New()
	t.Cleanup(r.Close)
	document, other := foreignBundle(t)
	r.PutBlob("org/app/web", "application/octet-stream", []byte(`{"os":"linux","architecture":`+jsonOf(t, foreign)+`}`))
	s := newDocumentScene(t, r, documentTypes[0], document, other)
	for _, command := range []string{"tree REG/org/app:v1", "check REG/org/app:v1"} {
		_, output := shownOn(t, 120, strings.Fields(strings.ReplaceAll(command, "REG", s.Host()))...)
		rest := regexp.MustCompile("\x1b\\[(\\d*m|\\d*A|J)|\r\n").ReplaceAllString(output, "")
		if strings.ContainsFunc(rest, unshown) || !colour.MatchString(output) {
			t.Errorf("%s: %q", command, output)
		}
	}
}

// TestInterruptedOnTerminal: Ctrl-C ends a pull whose progress is seen, and leaves one line, the terminal as it was and
// its cursor where the next prompt goes.
func TestInterruptedOnTerminal(t *testing.T) {
	r := published(t)
	r.Intercept(r.StallAt(2<<20, registrytest.Of(registrytest.KindBlob), registrytest.In("org/app/web")))
	terminal := terminaltest.Open(t, 100)
	before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	clienttest.NoError(t, err)
	program, err := os.Executable()
	clienttest.NoError(t, err)
	link := t.TempDir() + "/nestctl" // by which name the test binary is the program; see TestMain
	clienttest.NoError(t, os.Symlink(program, link))
	cmd := exec.CommandContext(t.Context(), link, "pull", "--plain-http", "--hosts-dir=", "--all-platforms", "--to", "oci-layout:"+t.TempDir()+"/out", r.Host()+"/org/app:v1")
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal.File, terminal.File, terminal.File
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	clienttest.NoError(t, cmd.Start())
	wait := func(what string, seen func(screen string) bool) {
		t.Helper()
		screen := ""
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if screen, _ = terminal.Seen(); seen(screen) {
				return
			}
		}
		t.Errorf("never %s, but\n%s", what, screen)
	}
	// Beside it may stand the other member, when what both have is among what waits.
	progress := regexp.MustCompile(`(?s)org/app/web +2\.0 MiB of 3\.0 MiB.*members?  \[`)
	wait("the progress of the member", progress.MatchString)
	terminal.Type(t, "\x03")
	if err = cmd.Wait(); err == nil {
		t.Error("an interrupted pull succeeds")
	}
	wait("the error alone", func(screen string) bool {
		return screen == "^C\nnestctl: interrupted; run the same command again to continue" || screen == "nestctl: interrupted; run the same command again to continue"
	})
	after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	clienttest.NoError(t, err)
	if _, output := terminal.Seen(); *after != *before || strings.Contains(output, "\x1b[?") {
		t.Errorf("the terminal is not as it was: %+v, %+v; %q", before, after, output)
	}
}
