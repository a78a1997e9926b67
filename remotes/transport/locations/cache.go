// Package locations is the location cache of a gateway: which repositories may
// have content that was asked for in another one, on disk, so that a gateway
// that starts again knows what the one before had learnt. It knows nothing of
// HTTP, of modes or of callers: its caller decides who may see an answer.
//
// It promises three things. What it answers is below the repository of the
// question, whatever the file says. What was learnt is known at once and never
// on the path of an answer to be written. And no file keeps a gateway from
// starting: a damaged one is put aside.
//
// Records are kept, and not the manifests and indexes themselves to be followed
// again at each start: that was tried. It needs no format and no probe, but 500
// bytes of the heap for each digest (300 MB for 64 MiB of an index made for it,
// beyond the gateway's limit), up to six times the CPU at a start, and it
// forgets what no manifest says, such as what a repository turned out to have.
//
// A reader meets: [Cache], what is looked up and what is learnt (cache.go);
// record, what the file holds under a key, and how what was learnt later joins
// it, so that what a child says of others takes no room of theirs (record.go;
// docs/spec.md, section 4); how that is written, and how the oldest is
// forgotten (file.go); [Open] and [Probe], which trust no file (open.go).
package locations

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// Options are the settings of a [Cache].
type Options struct {
	MaxAge   time.Duration // what was not seen for so long is forgotten; 30 days
	MaxBytes int64         // of the file; beyond it the oldest is forgotten; 64 MiB
	// Probe reads a file as the function [Probe] does, where it may end the
	// process: bbolt faults on some damaged files. Its error is [ErrDamaged]
	// when that is what the file is. Without one every file is taken for sound.
	Probe func(path string) error
}

// Cache remembers on disk where content may be: for a repository that bundles
// were pulled from and a digest, [nested.Places]; which nested indexes were
// found in the repository; and which manifests and indexes were learnt. Each is
// looked up by its key. What was learnt is known at once and written soon
// after, what one manifest or index says in one transaction, and merged with
// what is there already only then. A crash loses at most what was not written,
// which is then searched for. It may be used by any number of goroutines; one
// process has the file.
type Cache struct {
	options Options
	db      *bbolt.DB

	writing sync.Mutex // held while pending batches are written

	mu      sync.Mutex
	pending []batch       // learnt and not yet written, the oldest first
	waiting int           // records in them
	stuck   bool          // they cannot be written
	written chan struct{} // closed when some were

	looks, transactions atomic.Int64 // look-ups, and what wrote something

	wake chan struct{} // there is something to write
	stop chan struct{}
	once sync.Once // closes stop
	done chan struct{}
}

// batch is what was learnt at once. It is not changed any more.
type batch map[string]record

// Keys are of fixed parts: none of them has a NUL in it.
func key(parent auth.Repository, d digest.Digest) string {
	return "p\x00" + parent.String() + "\x00" + d.String()
}

func rootsKey(parent auth.Repository) string { return "r\x00" + parent.String() }

// manifestKey is of a manifest or index at a place: elsewhere it says other
// things.
func manifestKey(parent auth.Repository, p nested.Place, served auth.Repository) string {
	s := newStatement(parent, p, 0)
	s.Times = nil
	text, _ := json.Marshal([]any{s, relative(parent, []auth.Repository{served})}) // a struct of strings and numbers
	return "d\x00" + parent.String() + "\x00" + p.Descriptor().Digest.String() + "\x00" + digest.FromBytes(text).Encoded()
}

// Places returns where content may be that was asked for in a repository.
func (c *Cache) Places(parent auth.Repository, d digest.Digest) nested.Places {
	r, _ := c.record(key(parent, d))
	return r.places(parent, d)
}

// Place returns the first of the places.
func (c *Cache) Place(parent auth.Repository, d digest.Digest) (nested.Place, bool) {
	if places := c.Places(parent, d); len(places) > 0 {
		return places[0], true
	}
	return nested.Place{}, false
}

// record looks a record up. What is pending is looked at first: once it is not,
// it is in the file.
func (c *Cache) record(key string) (record, bool) {
	c.looks.Add(1)
	c.mu.Lock()
	pending := c.pending
	c.mu.Unlock()
	var r record
	_ = c.db.View(func(tx *bbolt.Tx) error { // a closed file knows nothing
		r = stored(tx, key)
		return nil
	})
	for _, b := range pending {
		if later, ok := b[key]; ok {
			r = r.merge(later)
		}
	}
	return r.current(c.old), r.Seen > 0 && !c.old(r.Seen)
}

// stored is a record of the file, empty when there is none.
func stored(tx *bbolt.Tx, key string) (r record) {
	if v := tx.Bucket(formatBucket).Get([]byte(key)); v != nil && json.Unmarshal(v, &r) != nil {
		return record{}
	}
	return r
}

// old reports whether what was seen at a time is to be forgotten.
func (c *Cache) old(seen int64) bool {
	return time.Since(time.Unix(seen, 0)) > c.options.MaxAge
}

// Learn puts places in the location cache of a repository, unless the same was learnt
// there not long ago. It is an error when the context ends before there is room
// for them.
func (c *Cache) Learn(ctx context.Context, parent auth.Repository, places ...nested.Place) error {
	b := batch{}
	for _, p := range places {
		if !c.has(parent, p) {
			b.add(parent, p)
		}
	}
	return c.put(ctx, b)
}

// has reports whether the same as a place says was learnt not long ago.
func (c *Cache) has(parent auth.Repository, p nested.Place) bool {
	r, _ := c.record(key(parent, p.Descriptor().Digest))
	s := newStatement(parent, p, 0)
	for _, known := range r.Says {
		if known.isAbout(s) {
			return !slices.ContainsFunc(s.Targets, func(target string) bool {
				i := slices.Index(known.Targets, target)
				return i < 0 || !c.recent(known.Times[i])
			})
		}
	}
	return false
}

// recent reports whether what was seen at a time need not be written again.
func (c *Cache) recent(seen int64) bool {
	return time.Since(time.Unix(seen, 0)) < c.options.MaxAge/refreshes
}

// LearnManifest is Learn for what a manifest or index at a place points to, and
// that itself. served is the repository that sent it.
func (c *Cache) LearnManifest(ctx context.Context, parent auth.Repository, p nested.Place, served auth.Repository, found []nested.Place) error {
	b := batch{}
	b.add(parent, found...)
	b.add(parent, p)
	b[manifestKey(parent, p, served)] = record{Seen: now()}
	return c.put(ctx, b)
}

// refreshes is how often in its lifetime what is seen again is written again.
const refreshes = 30

// Learnt reports whether a manifest or index at a place was learnt, not long
// ago.
func (c *Cache) Learnt(parent auth.Repository, p nested.Place, served auth.Repository) bool {
	r, ok := c.record(manifestKey(parent, p, served))
	return ok && c.recent(r.Seen)
}

// Unknown returns the places whose content is not known.
func (c *Cache) Unknown(parent auth.Repository, places []nested.Place) (unknown []nested.Place) {
	c.mu.Lock()
	pending := c.pending
	c.mu.Unlock()
	known := func(b *bbolt.Bucket, key string) bool {
		for _, learnt := range pending {
			if _, ok := learnt[key]; ok {
				return true
			}
		}
		return b.Get([]byte(key)) != nil
	}
	_ = c.db.View(func(tx *bbolt.Tx) error {
		for _, p := range places {
			if !known(tx.Bucket(formatBucket), key(parent, p.Descriptor().Digest)) {
				unknown = append(unknown, p)
			}
		}
		return nil
	})
	return unknown
}

// Prefer is LearnManifest for a plain manifest or index that the repository
// itself has, and what that points to, as far as others say that it is
// elsewhere.
func (c *Cache) Prefer(ctx context.Context, parent auth.Repository, p nested.Place, found []nested.Place) error {
	b, unknown := batch{}, map[digest.Digest]bool{}
	for _, p := range c.Unknown(parent, append(found[:len(found):len(found)], p)) {
		unknown[p.Descriptor().Digest] = true
	}
	for _, p := range append(found[:len(found):len(found)], p) {
		d := p.Descriptor().Digest
		if known, _ := c.Place(parent, d); !unknown[d] && (!known.Own(parent) || !slices.Contains(known.Fields().Targets, parent)) {
			b.add(parent, p)
		}
	}
	if len(unknown) == 0 {
		b[manifestKey(parent, p, parent)] = record{Seen: now()}
	}
	return c.put(ctx, b)
}

// add adds what places have to say.
func (b batch) add(parent auth.Repository, places ...nested.Place) {
	at := now()
	for _, p := range places {
		d := p.Descriptor().Digest
		k, s := key(parent, d), newStatement(parent, p, at)
		r := b[k]
		r.Seen = at
		r.add(s)
		b[k] = r
		if s.root() {
			roots := b[rootsKey(parent)]
			b[rootsKey(parent)] = record{Seen: at, Roots: append(roots.Roots, rootRecord{d, at})}
		}
	}
}

// maxPending bounds the records that wait to be written. Whatever learns more
// waits for room, but a small one, such as an image's manifest, not behind the
// large ones of others.
const maxPending, smallBatch = 30_000, 100

// put makes a batch known, and has it written. It is not learnt when the
// context ends before there is room for it.
func (c *Cache) put(ctx context.Context, b batch) error {
	if len(b) == 0 {
		return nil
	}
	for {
		c.mu.Lock()
		if c.stuck && c.waiting >= maxPending {
			c.pending, c.waiting = nil, 0
		}
		if c.waiting == 0 || c.waiting+len(b) <= maxPending || len(b) <= smallBatch && c.waiting < 2*maxPending {
			c.pending, c.waiting = append(c.pending, b), c.waiting+len(b)
			c.mu.Unlock()
			break
		}
		written := c.written
		c.mu.Unlock()
		select {
		case <-written:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// Roots returns the nested indexes that were found in a repository itself, the
// latest first, and not more than so many.
func (c *Cache) Roots(parent auth.Repository, most int) []nested.Place {
	r, _ := c.record(rootsKey(parent))
	var roots []nested.Place
	for _, root := range r.Roots[:min(len(r.Roots), most)] {
		content, _ := c.record(key(parent, root.Digest))
		for _, s := range content.Says {
			if p, ok := s.place(parent, root.Digest); ok && s.root() {
				roots = append(roots, p)
				break
			}
		}
	}
	return roots
}
