package layout

import (
	"os"

	"golang.org/x/sys/unix"
)

// connected waits until a pipe that was opened without blocking has a writer,
// and returns it. The pipe stays open all the time: a writer that found no
// reader would fail, and its data would be lost. When the file is closed it
// returns an error.
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
