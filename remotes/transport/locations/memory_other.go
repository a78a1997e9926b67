//go:build !linux

package locations

import "os"

// memoryFile is a file that goes when it is closed: there are none in memory
// alone.
func memoryFile() (*os.File, error) {
	file, err := os.CreateTemp("", "nested-locations-*")
	if err == nil {
		_ = os.Remove(file.Name()) // Windows does not while it is open
	}
	return file, err
}
