package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
)

// SealKeySize is the size of a key for sealing, in bytes.
const SealKeySize = 32

// seals makes texts that clients carry from one request to another, and to
// another replica, without being able to read, change or exchange them:
// AES-256-GCM with a random nonce. It may be used by any number of goroutines.
type seals struct{ keys []cipher.AEAD }

// newSeals returns seals of which the first key seals, and all open. Without
// keys one is drawn, which ends with the process.
func newSeals(keys [][]byte) (seals, error) {
	if len(keys) == 0 {
		drawn := make([]byte, SealKeySize)
		_, _ = rand.Read(drawn) // never fails
		keys = [][]byte{drawn}
	}
	var s seals
	for i, key := range keys {
		if len(key) != SealKeySize {
			return seals{}, fmt.Errorf("seal key %d has %d bytes in place of %d", i+1, len(key), SealKeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return seals{}, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return seals{}, err
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// seal seals a text for a purpose, as something that can be part of a path.
func (s seals) seal(text, purpose string) string {
	return base64.RawURLEncoding.EncodeToString(s.keys[0].Seal(nil, nil, []byte(text), []byte(purpose)))
}

var errSeal = errors.New("it was sealed for another repository or user, or by a replica with another key (seal_keys)")

// open returns the text that was sealed for a purpose.
func (s seals) open(sealed, purpose string) (string, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return "", errSeal
	}
	for _, key := range s.keys {
		if text, err := key.Open(nil, nil, data, []byte(purpose)); err == nil {
			return string(text), nil
		}
	}
	return "", errSeal
}
