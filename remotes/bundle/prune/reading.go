package prune

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// stored is content of one repository.
type stored struct {
	at     auth.Repository
	digest digest.Digest
}

// tree is what a tag names, and everything below it.
type tree struct {
	root   stored            // what the tag names
	nested bool              // a member is in another repository
	names  map[stored]*entry // all content that is named, and what it names itself
	order  []stored          // of names

	created string               // what the index says
	configs []ocispec.Descriptor // of the images
	bundle  *bundle.Bundle
}

// entry is content that is named.
type entry struct {
	isManifest bool // or an index
	isIndex    bool
	subject    digest.Digest // to which it refers
	below      []stored
}

// reader reads what tags name, each content once.
type reader struct {
	client   *registry.Client
	parent   auth.Repository
	untagged bool      // the parent need not have tags
	now      time.Time // nothing was made later; zero for unknown
	trees    flight.Once[stored, *tree]
	times    flight.Once[digest.Digest, time.Time] // of configs

	tags map[auth.Repository]map[string]digest.Digest // of the repositories that were read
}

func newReader(client *registry.Client, parent auth.Repository, now time.Time) *reader {
	return &reader{client: client, parent: parent, now: now, tags: map[auth.Repository]map[string]digest.Digest{}}
}

// tagged reads what each tag of a repository names. Only the parent has to have
// tags, unless untagged says otherwise.
func (r *reader) tagged(ctx context.Context, at auth.Repository) (map[string]*tree, error) {
	tags, err := r.client.Tags(ctx, at)
	if errdefs.IsNotFound(err) && (at != r.parent || r.untagged) {
		tags, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	digests, trees := map[string]digest.Digest{}, map[string]*tree{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(bundle.DefaultConcurrent)
	for _, tag := range tags {
		group.Go(func() error {
			d, err := r.client.Digest(ctx, at, tag)
			if err != nil {
				return r.unread(at, tag, err)
			}
			t, err := r.tree(ctx, stored{at, d})
			if err != nil {
				return r.unread(at, tag, err)
			}
			mu.Lock()
			defer mu.Unlock()
			digests[tag], trees[tag] = d, t
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r.tags[at] = digests
	return trees, nil
}

// unread is the error about a tag that could not be read. Whatever it may name has
// to be kept, so nothing is deleted.
func (r *reader) unread(at auth.Repository, tag string, err error) error {
	return fmt.Errorf("%s:%s: %w; nothing is deleted before everything can be read", at, tag, err)
}

// tree reads what is stored under a digest, and everything below that.
func (r *reader) tree(ctx context.Context, root stored) (*tree, error) {
	return r.trees.Do(root, func() (*tree, error) { return r.read(ctx, root, bundle.Options{Sparse: true, Carrier: true}, nil) })
}

// withReferrers is tree with what refers to any of it.
func (r *reader) withReferrers(ctx context.Context, root stored) (*tree, error) {
	return r.read(ctx, root, bundle.Options{Sparse: true, Carrier: true, Referrers: true}, nil)
}

// read reads a tree, and takes it as edit leaves its root, unless that is nil.
func (r *reader) read(ctx context.Context, root stored, o bundle.Options, edit func(*bundle.Node)) (*tree, error) {
	ref, err := root.at.WithDigest(root.digest)
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(ctx, nested.New(r.client, nested.Options{Complete: true}), ref)
	if err != nil {
		return nil, err
	}
	g := &growing{tree: &tree{root: root, names: map[stored]*entry{}, bundle: b}, said: map[digest.Digest]said{}}
	if nested.Unfollowed(root.at, b.Root) != nil { // it names no manifests
		g.tree.add(root, &entry{isManifest: true})
		return g.tree, nil
	}
	walked, err := b.Walk(ctx, o, bundle.Visitor{Fetch: g.fetch})
	if err != nil {
		return nil, err
	}
	members, err := b.Fetcher.Members(ctx, b.Root)
	g.tree.nested = len(members) > 0
	if edit != nil {
		edit(walked.Root)
	}
	g.grow(walked.Root)
	return g.tree, err
}

// said is what a manifest or index says of itself.
type said struct {
	Subject     *ocispec.Descriptor `json:"subject"`
	Annotations map[string]string   `json:"annotations"`
	Config      ocispec.Descriptor  `json:"config"`
}

// growing is a tree that is being read.
type growing struct {
	tree *tree

	mu   sync.Mutex
	said map[digest.Digest]said
}

// fetch reads a manifest or index.
func (g *growing) fetch(ctx context.Context, n *bundle.Node) error {
	if !oci.IsManifestOrIndex(n.MediaType) {
		return nil
	}
	data, err := bundle.FetchAll(ctx, g.tree.bundle.Fetcher, n.Descriptor)
	if err != nil {
		return err
	}
	var s said
	_ = json.Unmarshal(data, &s) // the walk reads it next, and says what is wrong
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said[n.Digest] = s
	return nil
}

// grow makes the tree of what a walk has found.
func (g *growing) grow(root *bundle.Node) {
	copies := root.Carrier == nil // an anchor has them in the repository of the index
	places := func(n *bundle.Node) (all []stored) {
		for _, at := range g.placesOf(n, copies) {
			all = append(all, stored{at, n.Stored().Digest})
		}
		return all
	}
	g.tree.created = g.said[root.Digest].Annotations[ocispec.AnnotationCreated]
	for _, n := range root.AllWithReferrers() {
		var below []stored
		for _, c := range n.Children {
			below = append(below, places(c)...)
		}
		for _, at := range g.placesOf(n, copies) {
			g.add(at, n, below)
		}
		for _, referrer := range n.Referrers {
			g.add(referrer.Repository, referrer, nil)
		}
		if n.Carrier != nil {
			for _, referrer := range n.Carrier.Referrers {
				for _, r := range referrer.AllWithReferrers() {
					g.add(r.Repository, r, nil)
				}
			}
		}
		if s := g.said[n.Digest]; !n.Aside && images.IsConfigType(s.Config.MediaType) {
			g.tree.configs = append(g.tree.configs, s.Config)
		}
	}
}

// placesOf are the repositories in which a node may be: its own, and those above it
// where the index's repository may have copies.
func (g *growing) placesOf(n *bundle.Node, copies bool) []auth.Repository {
	places := []auth.Repository{n.Repository}
	if copies && !n.Aside {
		places = append(places, n.Repository.Above(g.tree.root.at)...)
	}
	return places
}

// add adds a node, with its carrier before it.
func (g *growing) add(at auth.Repository, n *bundle.Node, below []stored) {
	self := stored{at, n.Digest}
	if n.Carrier != nil {
		g.tree.add(stored{at, n.Carrier.Digest}, &entry{isManifest: true, subject: g.subject(n.Carrier.Digest), below: []stored{self}})
	}
	g.tree.add(self, &entry{
		isManifest: oci.IsManifestOrIndex(n.MediaType),
		isIndex:    images.IsIndexType(n.MediaType),
		subject:    g.subject(n.Digest),
		below:      below,
	})
}

func (g *growing) subject(d digest.Digest) digest.Digest {
	if subject := g.said[d].Subject; subject != nil {
		return subject.Digest
	}
	return ""
}

// add adds content, or what more it names.
func (t *tree) add(s stored, e *entry) {
	known, ok := t.names[s]
	if !ok {
		t.names[s] = e
		t.order = append(t.order, s)
		return
	}
	known.below = append(known.below, e.below...)
}

// createdOf is when a release was made; zero when it does not say so.
func (r *reader) createdOf(ctx context.Context, t *tree) (time.Time, error) {
	if created := r.parseCreated(t.created); !created.IsZero() {
		return created, nil
	}
	var latest time.Time
	for _, config := range t.configs {
		created, err := r.times.Do(config.Digest, func() (time.Time, error) {
			data, err := bundle.FetchAll(ctx, t.bundle.Fetcher, config)
			if errdefs.IsNotFound(err) {
				return time.Time{}, nil // it is not there to say anything
			}
			if err != nil {
				return time.Time{}, fmt.Errorf("config of an image of %s@%s: %w", t.root.at, t.root.digest, err)
			}
			var image struct {
				Created string `json:"created"`
			}
			if json.Unmarshal(data, &image) != nil {
				return time.Time{}, nil // it says nothing
			}
			return r.parseCreated(image.Created), nil
		})
		if err != nil {
			return latest, err
		}
		if created.After(latest) {
			latest = created
		}
	}
	return latest, nil
}
