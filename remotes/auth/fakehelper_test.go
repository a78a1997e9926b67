package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// helperDir is in PATH.
var helperDir string

// helperScript is what a fake credential helper does, in this order.
type helperScript struct {
	Dial   string // connect to this address, send a line, wait for one
	Child  bool   // start a child that does the same
	Agent  bool   // the child has a session of its own
	TTY    bool   // read the terminal
	Report bool   // answer with a description of the process as user
	Stdout string // write this; SERVER stands for what was asked for
	Repeat int    // that often again
	Stderr string
	Sleep  time.Duration
	Exit   int
}

const notFoundMessage = "credentials not found in native keychain\n"

var (
	answering = helperScript{Stdout: `{"ServerURL":"SERVER","Username":"user","Secret":"` + secret + `"}`}
	notFound  = helperScript{Stdout: notFoundMessage, Exit: 1}
)

// installHelper makes docker-credential-NAME from this test binary.
func installHelper(dir, name string, script helperScript) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "docker-credential-"+name)
	text, err := json.Marshal(script)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".script", text, 0o600); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Symlink(self, path)
}

// newHelper installs a helper under a name of its own and returns the name.
func newHelper(t *testing.T, script helperScript) string {
	t.Helper()
	name := strings.NewReplacer("/", "-", "#", "-").Replace(t.Name())
	if err := installHelper(helperDir, name, script); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Join(helperDir, "docker-credential-"+name+".runs")) })
	return name
}

// runsOf lists what a helper was asked for, in order.
func runsOf(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(helperDir, "docker-credential-"+name+".runs"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// helperMain is the fake helper's main function.
func helperMain(path string) int {
	var script helperScript
	text, err := os.ReadFile(path + ".script")
	if err == nil {
		err = json.Unmarshal(text, &script)
	}
	if err != nil || len(os.Args) != 2 {
		return 99
	}
	if os.Args[1] == "child" {
		return converse(script.Dial, "child")
	}
	if os.Args[1] != "get" {
		return 98 // nothing else is ever to be asked of a helper
	}
	asked, err := io.ReadAll(os.Stdin)
	if err != nil || record(path+".runs", string(asked)) != nil {
		return 97
	}
	return script.run(path, string(asked))
}

// record adds a line; appends of that size do not interleave.
func record(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	return err
}

func (s helperScript) run(path, asked string) int {
	if s.Child {
		child := exec.CommandContext(context.Background(), path, "child")
		child.Stdout = os.Stdout // holds the output open, as an agent may
		if s.Agent {
			isolate(child, false)
		}
		if child.Start() != nil {
			return 96
		}
	}
	if s.Dial != "" && converse(s.Dial, "helper") != 0 {
		return 95
	}
	if s.TTY {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err == nil {
			_, _ = tty.Read(make([]byte, 1))
		}
	}
	if s.Report {
		s.Stdout = strings.ReplaceAll(s.Stdout, "REPORT", strconv.Quote(processReport()))
	}
	out := strings.ReplaceAll(s.Stdout, "SERVER", asked)
	for range s.Repeat + 1 {
		if _, err := os.Stdout.WriteString(out); err != nil {
			return 94
		}
	}
	fmt.Fprint(os.Stderr, s.Stderr)
	time.Sleep(s.Sleep)
	return s.Exit
}

// processReport says what a helper can see of how it was started.
func processReport() string {
	stdin, _ := io.ReadAll(os.Stdin)
	return fmt.Sprintf("leader=%t more-stdin=%d inline=%q", sessionLeader(), len(stdin), os.Getenv(inlineVariable))
}

// converse tells a test who came, and waits for its answer.
func converse(address, who string) int {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 1
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, who); err != nil {
		return 1
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return 1
	}
	return 0
}

// visitors are the helper processes that have come to the test.
type visitors struct {
	t *testing.T
	l *net.TCPListener
}

func newVisitors(t *testing.T) *visitors {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = l.Close() })
	return &visitors{t, l.(*net.TCPListener)}
}

func (v *visitors) address() string { return v.l.Addr().String() }

// visitor is a process that waits for an answer of the test, or its own end.
type visitor struct {
	net.Conn
	who string
}

// next waits for a process to come.
func (v *visitors) next() (p visitor) {
	v.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	_ = v.l.SetDeadline(deadline)
	p.Conn = must[net.Conn](v.t)(v.l.Accept())
	v.t.Cleanup(func() { _ = p.Close() })
	_ = p.SetDeadline(deadline)
	if _, err := fmt.Fscanln(p, &p.who); err != nil {
		v.t.Fatal(err)
	}
	return p
}

// gone waits until the process at the other end has ended.
func (v *visitors) gone(p visitor) {
	v.t.Helper()
	var timeout net.Error
	if _, err := p.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		v.t.Errorf("the %s is still there: %v", p.who, err)
	}
}
