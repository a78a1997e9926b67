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
// [Finder] is what it stands on: it finds the content that a [Request] asks for,
// for one caller or for many who must not know of each other. Handlers stand on
// it, too: package gateway.
//
// Read the files in this order:
//
//   - transport.go: [Transport], and origin, which asks the repository of a
//     request in the request's own way; push.go: what is pushed and deleted;
//   - finder.go: [Finder]; request.go: what is asked for, and for whom; answer.go: [Failure], how a client is told no;
//   - budget.go: the time and requests for one; memory.go: [Memory], for all;
//   - upstream.go: how registries are asked;
//   - content.go: how manifests and indexes are read, verified and learnt;
//     manifest.go, blob.go and list.go: what is found; held.go:
//     what a HEAD has left for the GET that follows;
//   - place.go: the candidates for content, in order, and the rights of callers.
//     What they come from is remembered by package locations below this one, and
//     searched for when that knows nothing (search.go, walks.go);
//   - readahead.go: what the client of a nested index will request next, fetched
//     before it does.
package transport
