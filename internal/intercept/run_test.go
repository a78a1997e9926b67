package intercept

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitStatus(t *testing.T) {
	directory := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(directory, name)
		noError(t, os.WriteFile(path, []byte(text), mode))
		return path
	}
	t.Setenv("PATH", directory+":"+os.Getenv("PATH"))
	file("no-program", "text", 0o600)
	s := newScene(t)
	o, log := s.options("registry.test")
	for _, c := range []struct {
		command []string
		want    int
		started bool
	}{
		{itself(t, "exit", "0"), 0, true},
		{itself(t, "exit", "7"), 7, true},
		{itself(t, "exit", "255"), 255, true},
		{[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15, true},
		{[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9, true},
		{[]string{"no-such-program"}, 127, false},
		{[]string{filepath.Join(directory, "nothing")}, 127, false},
		{[]string{file("no-interpreter", "#!/no/such/interpreter\n", 0o700)}, 127, false},
		{[]string{"no-program"}, 126, false},
		{[]string{filepath.Join(directory, "no-program")}, 126, false},
		{[]string{file("no-format", "\x00", 0o700)}, 126, false},
		{[]string{directory}, 126, false},
		{[]string{""}, 127, false},
	} {
		_, err := run(t, o, c.command...)
		var exit *ExitError
		status := 0
		if errors.As(err, &exit) {
			status = exit.Status
		} else if err != nil {
			t.Errorf("%q: %v", c.command, err)
		}
		if status != c.want || exit != nil && (exit.Err == nil) != c.started {
			t.Errorf("%q: status %d (%v), want %d", c.command, status, err, c.want)
		}
	}
	log.want(t)
}

// TestStandardFiles: the command reads and writes what it was given.
func TestStandardFiles(t *testing.T) {
	s := newScene(t)
	o, _ := s.options("registry.test")
	var stdout strings.Builder
	noError(t, Run(Command{itself(t, "copy"), strings.NewReader("from the caller"), &stdout, io.Discard}, o))
	if stdout.String() != "from the caller" {
		t.Errorf("the command wrote %q", stdout.String())
	}
}

// TestNothingIsLeft: the files of the command are its user's alone, have no key in them, and go with it.
func TestNothingIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newScene(t)
	o, _ := s.options("registry.test")
	out, err := run(t, o, itself(t, "roots")...)
	noError(t, err)
	directory, mode, _ := strings.Cut(strings.TrimSpace(out), " ")
	if mode != "drwx------" || !strings.HasPrefix(directory, os.Getenv("TMPDIR")) {
		t.Errorf("%q", out)
	}
	_, err = run(t, o, "sh", "-c", "kill -KILL $$")
	if err == nil {
		t.Error("no error")
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestWithin: a command may be run in the same way itself; the outer proxy is the one that was set before.
func TestWithin(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", says("a registry"))
	o, log := s.options("registry.test")
	out, err := run(t, o, itself(t, "run", "get", "https://registry.test/v2/")...)
	noError(t, err)
	if !strings.Contains(out, "a registry") {
		t.Errorf("%q", out)
	}
	log.want(t, "GET https://registry.test/v2/ 200")
}
