// Package pin puts pinned references into Kubernetes manifests: an image in a
// bundle becomes repository@digest, and not another byte of the text changes,
// neither comments nor order nor quotes.
//
// Read the files in this order:
//
//   - stream.go: a [Stream] is the text of a file, YAML or JSON, with the
//     positions of its images. Parsers find them (yaml.go with position.go;
//     json.go), in a text that does not cost them much more than its size
//     (bound.go);
//   - read.go: [Read] reads the streams of files, directories and standard
//     input; [ReadTexts] their texts, for package sources;
//   - write.go: [Write] joins them, with the references that a function returns
//     for images;
//   - bundle.go: [Pinner] is such a function, for the images of bundles, and
//     for those that were copied into bundles (origin.go);
//   - list.go: [List] writes the references themselves, for other tools.
//
// Values of Helm charts are another kind of file: values.go has [Values];
// images.go says which of their keys are an image, imagefinder.go finds them,
// and edit.go changes the text.
//
// Nothing here makes requests or walks a bundle: the caller does so, and
// describes the result as a [Bundle]. nestctl resolve is its user.
package pin
