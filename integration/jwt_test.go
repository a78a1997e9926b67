package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"
	"time"
)

const (
	issuer   = "nested integration tests"
	service  = "nested-registry"
	lifetime = 5 * time.Minute
)

// access is a right on a repository, as the distribution token specification writes it in a claim.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// signer makes the JSON web tokens (ES256) that the registry trusts.
type signer struct {
	key *ecdsa.PrivateKey
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return signer{key}
}

// jwks is the key set that the registry verifies tokens with.
func (s signer) jwks(t testing.TB) string {
	t.Helper()
	point, err := s.key.PublicKey.Bytes() // 4, x, y
	must(t, err)
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "test",
		"x": encode(point[1:33]), "y": encode(point[33:]),
	}}})
	must(t, err)
	return string(set)
}

func (s signer) token(subject string, rights []access) (string, error) {
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "ES256", "kid": "test"})
	if err != nil {
		return "", err
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": service, "sub": subject, "jti": rand.Text(), "access": rights,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed := encode(header) + "." + encode(claims)
	hash := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, hash[:])
	if err != nil {
		return "", err
	}
	return signed + "." + encode(joined(r, v)), nil
}

// joined is a signature in the form of RFC 7518, section 3.4.
func joined(r, s *big.Int) []byte {
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
