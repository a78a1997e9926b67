package intercept

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Where systems keep their roots, as in package crypto/x509: the first of the files, and all of the directories. Other
// libraries know them too, and nobody can ask Go's for what it found.
var (
	systemFiles = []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/pki/tls/cacert.pem",                           // OpenELEC
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL
		"/etc/ssl/cert.pem",                                 // Alpine, and the BSDs
		"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
		"/etc/openssl/certs/ca-certificates.crt",            // NetBSD
	}
	systemDirectories = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
)

// roots are the certificates that a command would have trusted, in PEM.
type roots []byte

// rootsOf reads the roots that an environment gives to Go's programs, and to those on OpenSSL: a file and directories,
// each those of the system when there is none in the environment.
func rootsOf(e environ) (roots, error) {
	found := collection{seen: map[string]bool{}}
	if file := e.get("SSL_CERT_FILE"); file != "" {
		if err := found.add(file); err != nil {
			return nil, fmt.Errorf("SSL_CERT_FILE: %w; name a file with certificates", err)
		}
	} else if err := found.addFirst(systemFiles); err != nil {
		return nil, err
	}
	directories := systemDirectories
	if list := e.get("SSL_CERT_DIR"); list != "" {
		directories = filepath.SplitList(list)
	}
	for _, directory := range directories {
		if err := found.add(directory); err != nil && !errors.Is(err, fs.ErrNotExist) { // as everywhere, a list of places to look at
			return nil, fmt.Errorf("roots: %w", err)
		}
	}
	return found.pem.Bytes(), needsRoots(runtime.GOOS, found.pem.Bytes())
}

// rootsAt reads the roots in a file or a directory.
func rootsAt(path string) (roots, error) {
	found := collection{seen: map[string]bool{}}
	err := found.add(path)
	return found.pem.Bytes(), err
}

func (r roots) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r)
	return pool
}

// with returns the roots and a certificate.
func (r roots) with(c *x509.Certificate) []byte {
	return append(bytes.Clone(r), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
}

// collection gathers certificates, each once.
type collection struct {
	pem  bytes.Buffer
	seen map[string]bool
}

// addFirst adds the first of the files that is there.
func (c *collection) addFirst(files []string) error {
	for _, file := range files {
		if err := c.add(file); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil // a system without roots
}

// add adds what is in a file, or in the files of a directory, where those that cannot be read count for nothing.
func (c *collection) add(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return c.addFile(path)
	}
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if file := filepath.Join(path, entry.Name()); isRegular(file) {
			_ = c.addFile(file)
		}
	}
	return err
}

// isRegular follows links: a pipe would be waited for.
func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (c *collection) addFile(path string) error {
	data, err := os.ReadFile(path)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" && !c.seen[string(block.Bytes)] {
			c.seen[string(block.Bytes)] = true
			_ = pem.Encode(&c.pem, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // to memory
		}
	}
	return err
}
