package progress

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestProgressOnTerminal: on a terminal there is a bar that counts bytes.
func TestProgressOnTerminal(t *testing.T) {
	screen, terminal := openTerminal(t)
	var metrics registry.Metrics
	p := New(terminal, false, false, &metrics)
	p.Expect(2 << 20)
	metrics.Bytes.Add(1 << 20)
	p.Member(&bundle.Node{})

	line, err := bufio.NewReader(screen).ReadString(']')
	p.Stop()
	if want := "1 member  ["; err != nil || !strings.HasPrefix(line, want) {
		t.Errorf("the terminal shows %q, %v; want a line that begins with %q", line, err, want)
	}
}

// openTerminal opens a pseudo-terminal of 100 columns.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 100}); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return screen, terminal
}
