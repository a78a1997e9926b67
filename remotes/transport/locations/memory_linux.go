package locations

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile is a file in memory, which has no name.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("nested-locations", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "locations in memory"), nil
}
