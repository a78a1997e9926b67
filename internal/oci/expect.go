package oci

import (
	"context"
)

type expectedType struct{}

// ExpectType makes a client of a registry refuse a manifest or index that is
// served with another media type than its descriptor's. It is in the context
// because containerd's resolver, or a wrapper of it, is in between.
func ExpectType(ctx context.Context, mediaType string) context.Context {
	return context.WithValue(ctx, expectedType{}, mediaType)
}

// ExpectedType returns the media type that a manifest or index must be served
// with, and whether one is set.
func ExpectedType(ctx context.Context) (string, bool) {
	mediaType, ok := ctx.Value(expectedType{}).(string)
	return mediaType, ok
}
