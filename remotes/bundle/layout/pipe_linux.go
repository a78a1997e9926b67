package layout

import (
	"os"

	"golang.org/x/sys/unix"
)

// connected waits until a pipe, which was opened without waiting, has had a
// writer, and returns it. It stays open all the time: a writer that came to a
// pipe without a reader would fail, and what it wrote be lost. It ends with an
// error when the file is closed.
func connected(file *os.File) (*os.File, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return file, raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}
