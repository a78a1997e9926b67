// Package registry is the client of registries: it resolves, fetches, pushes
// and lists for everything else in this module.
//
// A [Client] knows each registry by its hosts.toml, in containerd's format, and
// uses a separate token for each repository, with credentials from package
// auth. It is a containerd remotes.Resolver made of docker's: docker's
// resolver, fetcher and pusher know the API, and an http.Client of ours inside
// them decides where requests go, which answers are accepted, and what is
// retried.
//
// Read the files in this order:
//
//   - client.go: [Client] and its options;
//   - hosts.go with hostsproblems.go: [Host], one of a registry's hosts, and
//     request.go with accept.go: [Host.Do], a request to it; send.go: one that
//     is passed on with its body;
//   - endpoint.go: what every request and answer passes through. pages.go and
//     mediatype.go judge what was served, expired.go renews signed URLs,
//     retry.go retries by the policy of package internal/retry, and resume.go
//     asks for the rest of a blob;
//   - resolver.go with absent.go, fetcher.go, head.go, elsewhere.go: reading;
//     expected.go: what a client will request next;
//   - pusher.go with upload.go: writing; send.go: what clients of other programs
//     write, and how they log in;
//   - referrers.go with pagelink.go, referrerlist.go: listing referrers, and
//     listing what is pushed with a subject; tags.go: listing tags;
//   - statement.go: what a registry says about its support for child
//     namespaces;
//   - errors.go, statuserror.go, complaint.go: what callers get when it fails;
//     came.go: what the clients of a transport do.
//
// Below it is package auth. Beside it is package nested, whose resolver wraps
// this client to find members; packages transport and bundle use both.
package registry
