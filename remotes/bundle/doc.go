// Package bundle opens and walks bundles: a root, mostly a nested index, with
// the members that it names in child repositories (docs/spec.md).
//
// [Open] resolves a reference to the root, a [Node]. A [Walker] walks from there
// to everything that a [Selection] selects, each content once, and what is brought
// can be stored in any content store ([Store]).
package bundle
