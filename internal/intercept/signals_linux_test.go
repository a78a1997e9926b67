package intercept

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSignals: what is sent to the process that runs a command reaches the command.
func TestSignals(t *testing.T) {
	taken := make(chan os.Signal, 2) // what is ignored here (nohup) would be ignored by the command
	signal.Notify(taken, syscall.SIGHUP, syscall.SIGINT)
	defer signal.Stop(taken)
	cmd := exec.Command(os.Args[0], "run", "signals")
	cmd.Env = append(newScene(t).environ, "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
	out, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	expect(t, lines, "ready")
	noError(t, cmd.Process.Signal(syscall.SIGINT))
	expect(t, lines, "interrupt")
	noError(t, cmd.Process.Signal(syscall.SIGHUP))
	expect(t, lines, "hangup")
	noError(t, cmd.Process.Signal(syscall.SIGALRM))
	expect(t, lines, "interrupts 1 hangups 1")
	noError(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 128+15 {
		t.Errorf("%v, status %d", err, cmd.ProcessState.ExitCode())
	}
}

// TestTerminal: a ^C reaches the command once, from the terminal.
func TestTerminal(t *testing.T) {
	master, slave := terminal(t)
	cmd := exec.Command(os.Args[0], "run", "signals")
	cmd.Env = append(newScene(t).environ, "TMPDIR="+t.TempDir())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	noError(t, cmd.Start())
	slave.Close()
	lines := bufio.NewScanner(master)
	expect(t, lines, "ready")
	for range 5 { // a second SIGINT is lost when it comes before the first has been seen
		_, err := master.WriteString("\x03")
		noError(t, err)
		expect(t, lines, "^Cinterrupt")
	}
	// The first process has had its SIGINT before this, and passes signals on in the order in which they come.
	noError(t, cmd.Process.Signal(syscall.SIGALRM))
	expect(t, lines, "interrupts 5 hangups 0")
	noError(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 128+15 {
		t.Errorf("%v, status %d", err, cmd.ProcessState.ExitCode())
	}
}

// terminal opens a pseudo-terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	noError(t, err)
	t.Cleanup(func() { master.Close() })
	noError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	noError(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	noError(t, err)
	return master, slave
}

func expect(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("no line (%v), want %q", lines.Err(), want)
	}
	if got := strings.TrimSpace(lines.Text()); got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}
