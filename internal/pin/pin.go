// Package pin puts pinned references into Kubernetes manifests: an image that
// is in a bundle becomes repository@digest, and not another byte of the text
// changes, neither comments nor order nor quotes.
//
// A [Stream] is the text of a file, YAML or JSON, with the places of its images
// (stream.go); a parser finds them (yaml.go, position.go; json.go). [Read] reads
// the streams of files, directories and standard input (read.go), [Write] makes
// one of them, with the references that a function gives for images (write.go).
// [Pinner] is such a function: it knows the images of bundles (bundle.go). [List]
// writes the references themselves, as other tools take them (list.go).
//
// Nothing here asks a registry or knows how a bundle is walked: whoever did so
// says what is in it, as a [Bundle].
package pin
