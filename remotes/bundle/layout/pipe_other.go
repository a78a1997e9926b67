//go:build !linux

package layout

import "os"

// connected opens a pipe again, which waits for a writer.
func connected(file *os.File) (*os.File, error) {
	if err := file.Close(); err != nil {
		return nil, err
	}
	return os.Open(file.Name())
}
