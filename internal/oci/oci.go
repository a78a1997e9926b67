// Package oci is what several packages need to know about OCI content in
// containerd's terms: which content is a manifest or index, whether bytes match
// a descriptor, and where else they may be (content.go); the repository of a
// reference, and repositories that a blob may be mounted from (reference.go);
// the media type that is expected (expect.go); and referrers (referrers.go).
// [Turns] keeps a pusher from pushing the same content twice (turns.go).
//
// It makes no requests. Packages registry, nested and bundle stand on it.
package oci
