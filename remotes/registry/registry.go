// Package registry is the client of registries: the one that resolves, fetches,
// pushes and lists for everything else in this module.
//
// A [Client] knows each registry by its hosts.toml, in containerd's format, and
// gives each repository a token of its own, with credentials from package auth.
// It is a containerd remotes.Resolver, made of docker's: docker's resolver,
// fetcher and pusher know the API, and an http.Client of ours in them decides
// what goes where, what an answer is worth, and what is asked again.
//
// A reader meets: [Client] and its options (client.go); [Host], one of a
// registry's hosts (hosts.go), and [Host.Do], a request to it (request.go); what
// every request and answer passes through (endpoint.go; pages.go and mediatype.go
// judge what came, expired.go renews signed URLs, retry.go asks again by package
// retry's policy); then what is made of them: resolver.go with absent.go,
// fetcher.go, head.go, pusher.go with upload.go, referrers.go with pagelink.go,
// referrerlist.go for what is pushed with a subject, statement.go for what a
// registry says of itself; and what a failure says (errors.go, complaint.go).
package registry
