package main

import (
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// node is content on one path from the root.
type node struct {
	nested.Entry
	entry      bool            // of an index
	aside      bool            // reached through what refers to something
	namespace  string          // composed path from the root; "" in the root's repository
	repository auth.Repository // where it is by that path
	home       auth.Repository // whose readers have it, where that was asked; see mover.home
	children   []*node
	referrers  []*node            // where they are asked for
	carrier    *node              // that stood here for it
	flat       ocispec.Descriptor // what stands for it in plain indexes, where they are made
	missing    bool               // left out, as the source does not have it
	visit      func() error       // visits it once, however many paths lead to it
}

// member tells whether a child-namespace descriptor points to the node.
func (n *node) member() bool { return n.Child != (nested.Child{}) }

// carried returns the index that a carrier carries.
func (n *node) carried() *node {
	for _, c := range n.children {
		if c.Carried {
			return c
		}
	}
	return nil
}

// leads tells whether a node is or leads to something that is selected.
func (n *node) leads() bool {
	return slices.ContainsFunc(n.all(), func(n *node) bool { return !images.IsIndexType(n.MediaType) && !n.missing })
}

// all returns a node and everything below it, parents first, each once.
func (n *node) all() []*node {
	seen := map[*node]bool{}
	var nodes []*node
	var add func(*node)
	add = func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		nodes = append(nodes, n)
		for _, c := range n.children {
			add(c)
		}
	}
	add(n)
	return nodes
}

func platformOf(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	return platforms.Format(*p)
}

// splitRef splits a normalised reference into repository and tag.
func splitRef(ref string) (repository, tag string) {
	repository, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		return repository[:i], repository[i+1:]
	}
	return repository, ""
}

// whole is a node and everything below it, with what refers to any of it.
func (n *node) whole() []*node {
	nodes := n.all()
	for _, below := range nodes {
		for _, r := range below.referrers {
			nodes = append(nodes, r.whole()...)
		}
	}
	return nodes
}

// placed is what stands for a node where it was brought to.
func (n *node) placed() *node {
	switch {
	case n.flat.Digest != "":
		return &node{Entry: nested.Entry{Descriptor: n.flat}}
	case n.carrier != nil:
		return n.carrier
	}
	return n
}
