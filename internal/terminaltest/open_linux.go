package terminaltest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo terminal with a person in front of it.
type Terminal struct {
	*os.File // what a program writes to
	person   *os.File
	reading  sync.WaitGroup

	mu     sync.Mutex
	screen *Screen
	output []byte
}

// Open opens a pseudo terminal of 25 lines.
func Open(t *testing.T, columns int) *Terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(person.Fd()) // which makes reads block, until the other side is closed
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	terminal := &Terminal{File: program, person: person, screen: NewScreen(columns)}
	terminal.Resize(t, columns)
	terminal.reading.Go(terminal.read)
	t.Cleanup(func() {
		program.Close()
		terminal.reading.Wait()
		person.Close()
	})
	return terminal
}

func (t *Terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := t.person.Read(buffer)
		if err != nil {
			return
		}
		t.mu.Lock()
		t.output = append(t.output, buffer[:n]...)
		_, _ = t.screen.Write(buffer[:n])
		t.mu.Unlock()
	}
}

// Resize changes the width.
func (t *Terminal) Resize(tb testing.TB, columns int) {
	tb.Helper()
	err := unix.IoctlSetWinsize(int(t.person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: uint16(columns)})
	if err != nil {
		tb.Fatal(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.screen.columns = columns
}

// Type types a text, such as "\x03" for Ctrl-C.
func (t *Terminal) Type(tb testing.TB, text string) {
	tb.Helper()
	if _, err := t.person.WriteString(text); err != nil {
		tb.Fatal(err)
	}
}

// Seen is what is on the screen, and all that was written to it.
func (t *Terminal) Seen() (screen, output string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.String(), string(t.output)
}
