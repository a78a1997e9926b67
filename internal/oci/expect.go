package oci

import (
	"context"
)

type expectedType struct{}

// ExpectType lets a client of a registry refuse a manifest or index that is
// served with another media type than its descriptor says. It is a context's, as
// what stands between is containerd's resolver, or whatever wraps it.
func ExpectType(ctx context.Context, mediaType string) context.Context {
	return context.WithValue(ctx, expectedType{}, mediaType)
}

// ExpectedType returns the media type that a manifest or index is expected to
// be served as, and whether there is any such expectation.
func ExpectedType(ctx context.Context) (string, bool) {
	mediaType, ok := ctx.Value(expectedType{}).(string)
	return mediaType, ok
}
