package oci_test

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
)

func TestAttachedTags(t *testing.T) {
	d := digest.FromString("an image")
	for tag, want := range map[string]bool{
		"sha256-" + d.Encoded() + ".sig":  true,
		"sha256-" + d.Encoded() + ".att":  true,
		"sha256-" + d.Encoded() + ".sbom": true,
		"sha256-" + d.Encoded():           false, // a list of referrers
		"sha256-" + d.Encoded() + ".tmp":  false,
		"sha256-" + d.Encoded()[1:]:       false,
		"v1.sig":                          false,
	} {
		if got := oci.IsAttachedTag(tag); got != want {
			t.Errorf("%s: %v", tag, got)
		}
	}
}
