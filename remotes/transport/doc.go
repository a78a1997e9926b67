// Package transport follows child namespaces for clients of the distribution API
// that do not: they ask the repository of a nested index for everything, and get
// what its members have from the members.
//
// [Transport] is an [http.RoundTripper] for one client. It passes requests as
// they came, with what they show, and reads the indexes and manifests that pass;
// what their repository does not have comes from the repository of the member,
// asked with a client of registries that has credentials of its own. Nested
// indexes that are pushed go to the registry as it takes them.
//
// What is read is found by package find below this one; package locations
// remembers where, callers says for whom, and answers how an answer is made. Here
// is what decides about a request, in transport.go, and what is pushed: push.go;
// missing.go: what an index names and is not there; protect.go: the tags that keep
// what it names; upload.go: how blobs and
// manifests are put; bring.go: what a manifest names and only members have is
// brought. What is deleted is in delete.go.
package transport
