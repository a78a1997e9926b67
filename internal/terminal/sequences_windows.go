package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// obeys reports whether a console obeys escape sequences, as those of Windows 10
// and later do once they are asked to.
func obeys(f *os.File) bool {
	var mode uint32
	console := windows.Handle(f.Fd())
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
