// Package find finds the content that clients of the distribution API ask for in
// the repository of a nested index, wherever it is: [Finder] answers a [Request],
// for one caller or for many who must not know of each other. A RoundTripper
// stands on it (package transport), and handlers do (package gateway).
//
// Read the files in this order:
//
//   - finder.go: [Finder]; request.go: what is asked for, and for whom; answer.go: [Failure], how a client is told no;
//   - budget.go: the time and requests for one; memory.go: [Memory], for all;
//   - upstream.go: how registries are asked; origin.go: [Origin], how the
//     repository of a request is asked in the request's own way;
//   - content.go: how manifests and indexes are read, verified and learnt;
//     manifest.go, blob.go and list.go: what is found; carriers.go: what carries
//     an index; held.go: what a HEAD has left for the GET that follows;
//   - place.go: the candidates for content, in order, and the rights of callers.
//     What they come from is remembered by package locations, and
//     searched for when that knows nothing (search.go, walks.go);
//   - pushed.go: what is needed of all that for a manifest that is pushed;
//   - readahead.go, pull.go: what the client of a nested index will request next, fetched
//     before it does.
package find
