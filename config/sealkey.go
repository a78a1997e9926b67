package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/nestedoci/nested/internal/trust"
	"github.com/nestedoci/nested/remotes/gateway"
)

// maxSealFile bounds the file of a seal key, which has 45 bytes; enough for white
// space around.
const maxSealFile = 4 << 10

// sealKeyFix says how to make a seal key.
const sealKeyFix = "make one with: openssl rand -base64 32"

// ReadSealKey reads the file of a seal key: 32 bytes in base64, with white space
// around. Others must not be able to replace it. No error has any of its text.
func ReadSealKey(path string) ([]byte, error) {
	if err := CheckFile(path); err != nil {
		return nil, err
	}
	text, err := trust.ReadFile(path, maxSealFile)
	if err != nil {
		return nil, err
	}
	key, ok := decodeSealKey(text)
	if !ok {
		return nil, &Error{Problems: []Problem{{File: path, Wrong: "is not 32 bytes in base64", Fix: sealKeyFix}}}
	}
	return key, nil
}

// decodeSealKey decodes a key. Go's decoder would skip line ends in the middle.
func decodeSealKey(text []byte) ([]byte, bool) {
	text = bytes.TrimSpace(text)
	if bytes.ContainsAny(text, "\r\n") || len(text) > maxSealFile {
		return nil, false
	}
	key, err := base64.StdEncoding.Strict().DecodeString(string(text))
	return key, err == nil && len(key) == gateway.SealKeySize
}

// sealKeys reads the keys.
func (s Serve) sealKeys() ([][]byte, error) {
	var keys [][]byte
	for _, path := range s.SealKeys {
		key, err := ReadSealKey(path)
		if err != nil {
			return nil, fmt.Errorf("seal key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// CheckServedSecrets reports the files of a front that others can read, which is no
// reason not to serve: a certificate and its key in one file are so where nobody
// minded, and a Secret of Kubernetes by default. A file of root's may be readable
// by its group, as systemd (LoadCredential) and Kubernetes (fsGroup) give it to a
// service.
func (c *Config) CheckServedSecrets() error {
	var all error
	for _, path := range append([]string{c.Serve.Certificate}, c.Serve.SealKeys...) {
		all = errors.Join(all, asProblem(trust.ServiceSecret(path)))
	}
	return all
}
