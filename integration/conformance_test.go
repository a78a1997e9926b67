package integration

import (
	"testing"

	"github.com/nestedoci/nested/internal/registrytest/conformance"
)

// TestConformance holds the real registry, and the token server of these tests, to what the unit
// tests' registry is held to.
func TestConformance(t *testing.T) {
	tokens := startTokenServer(t, map[string]user{
		"alice": {password: "secret-a", rights: pulls("org/app")},
		"bob":   {password: "secret-b", rights: pulls("org/other")},
	})
	reg := startRegistry(t, tokens)
	image := newImage(t, amd64, "hello\n", baseLayer(t))
	reg.pushNode(t, "org/app", "v1", image)
	conformance.Run(t, conformance.Target{
		BaseURL:       reg.scheme + "://" + reg.host,
		Client:        reg.client,
		Repository:    "org/app",
		Manifest:      image.desc,
		Tag:           "v1",
		Blob:          image.blobs[0].desc,
		User:          "alice",
		Password:      "secret-a",
		OtherUser:     "bob",
		OtherPassword: "secret-b",
		TokenPOST:     true,
	})
}
