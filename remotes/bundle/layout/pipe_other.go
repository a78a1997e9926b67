//go:build !linux

package layout

import "os"

// connected waits until a pipe that was opened without blocking has a writer,
// and returns it. The pipe stays open all the time: a writer that found no
// reader would fail, and its data would be lost. When the file is closed it
// returns an error.
func connected(file *os.File) (*os.File, error) {
	if err := file.Close(); err != nil {
		return nil, err
	}
	return os.Open(file.Name())
}
