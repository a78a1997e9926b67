package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nestedoci/nested/config"
)

// front is a nestctl serve of a script.
type front struct {
	process *exec.Cmd
	said    *strings.Builder // on standard error
	read    chan struct{}    // closed when that has ended
}

// cmdFront starts nestctl serve with arguments on a port of its own. $FRONT is
// its address.
func cmdFront(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0)
	program := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "nestctl")); err == nil && program == "" {
			program = filepath.Join(dir, "nestctl")
		}
	}
	f := &front{exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...), new(strings.Builder), make(chan struct{})}
	f.process.Dir = ts.MkAbs(".")
	stderr, err := f.process.StderrPipe()
	ts.Check(err)
	ts.Check(f.process.Start())
	ts.Defer(func() { _ = f.process.Process.Kill(); <-f.read; _ = f.process.Wait() })
	address := make(chan string, 10)
	go func() {
		defer close(f.read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); f.said.WriteString(lines.Text() + "\n") {
			if _, at, ok := strings.Cut(lines.Text(), " on "); ok && strings.Contains(lines.Text(), "serving ") {
				address <- strings.Trim(at, `"`)
			}
		}
	}()
	select {
	case at := <-address:
		_, port, err := net.SplitHostPort(at)
		ts.Check(err)
		ts.Setenv("FRONT", "localhost:"+port)
	case <-f.read:
		ts.Fatalf("nestctl serve has ended: %s", f.said)
	case <-time.After(patience):
		ts.Fatalf("nestctl serve does not say where it serves")
	}
	sceneOf(ts).front = f
}

// cmdEndFront ends it as a service manager does, and prints its log. It must end
// without an error.
func cmdEndFront(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0)
	f := sceneOf(ts).front
	ts.Check(f.process.Process.Signal(syscall.SIGTERM))
	<-f.read
	ts.Check(f.process.Wait())
	checkLeaks(ts, f.said.String())
	_, _ = ts.Stdout().Write([]byte(f.said.String()))
}

// cmdCertificate writes a certificate with its key for localhost, and its CA.
func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2)
	certificates, err := config.NewCertificates("127.0.0.1:0", time.Now())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), certificates.Gateway, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), certificates.CA, 0o600))
}
