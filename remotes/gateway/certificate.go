package gateway

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// certificateFile is a file with a certificate and its key, which is read again
// when it changes. While it cannot be read, the certificate before stays: a file
// that is being written is not whole for a moment.
type certificateFile struct {
	path string

	mu   sync.Mutex
	read fs.FileInfo // what was there when pair was read
	pair *tls.Certificate
}

// get is a GetCertificate of [tls.Config].
func (c *certificateFile) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.path)
	if err == nil && (c.pair == nil || !sameFile(info, c.read)) {
		err = c.load(info)
	}
	if c.pair != nil {
		return c.pair, nil
	}
	return nil, fmt.Errorf("certificate %s: %w", c.path, err)
}

// load reads the file. The caller holds the lock.
func (c *certificateFile) load(info fs.FileInfo) error {
	pair, err := tls.LoadX509KeyPair(c.path, c.path)
	if err == nil {
		c.read, c.pair = info, &pair // a change since info is seen next time
	}
	return err
}

// sameFile reports whether a file has not been replaced or written in between.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
