// Package oci says what several packages have to know of OCI content in
// containerd's terms, so that it is known once: which content is a manifest or
// index, what bytes a descriptor describes and where else they may be
// (content.go), the repository of a reference and those that a blob may be
// mounted from (reference.go), and what refers to what (referrers.go). It asks
// nobody.
//
// [Turns] keeps a pusher from pushing one thing twice.
package oci
