// Package registry is the client of client: the one that resolves, fetches,
// pushes and lists for everything else in this module.
//
// A [Client] knows each registry by its hosts.toml, in containerd's format, and
// gives each repository a token of its own, with credentials from package auth.
// It is a containerd remotes.Resolver, made of docker's with an http.Client of
// ours in it: docker's resolver, fetcher and pusher know the API, and that client
// decides what goes where, what an answer is worth, and what is asked again.
// Whoever makes requests of their own to a registry has its hosts by
// [Client.Hosts], and asks each with [Host.Do].
package registry
