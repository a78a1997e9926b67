package gateway

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

// TrailOptions are the settings of a [Trail].
type TrailOptions struct {
	MaxAge   time.Duration // what was not seen for so long is forgotten; 30 days
	MaxBytes int64         // of the file; beyond it the oldest is forgotten; 64 MiB
	// Probe reads a file as [ProbeTrail] does, where it may end the process:
	// bbolt faults on some damaged files. Its error is [ErrDamaged] when that
	// is what the file is. nil means that the file is sound.
	Probe func(path string) error
}

// Trail remembers on disk where content may be: for a repository that bundles
// were pulled from and a digest, [nested.Places]; which nested indexes were
// found in the repository; and which documents were learnt. Each is looked up
// by its key. What was learnt is known at once and written soon after, a
// document in one transaction, and merged with what is there already only
// then. A crash loses at most what was not written, which is then searched
// for.
type Trail struct {
	options TrailOptions
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

// documentKey is of a document at a place: elsewhere it says other things.
func documentKey(parent auth.Repository, p nested.Place, served auth.Repository) string {
	s := newStatement(parent, p, 0)
	s.Times = nil
	text, _ := json.Marshal([]any{s, relative(parent, []auth.Repository{served})}) // a struct of strings and numbers
	return "d\x00" + parent.String() + "\x00" + p.Descriptor().Digest.String() + "\x00" + digest.FromBytes(text).Encoded()
}

// Places returns where content may be that was asked for in a repository.
func (t *Trail) Places(parent auth.Repository, d digest.Digest) nested.Places {
	r, _ := t.record(key(parent, d))
	return r.places(parent, d)
}

// Place returns the first of the places.
func (t *Trail) Place(parent auth.Repository, d digest.Digest) (nested.Place, bool) {
	if places := t.Places(parent, d); len(places) > 0 {
		return places[0], true
	}
	return nested.Place{}, false
}

// record looks a record up. What is pending is looked at first: once it is not,
// it is in the file.
func (t *Trail) record(key string) (record, bool) {
	t.looks.Add(1)
	t.mu.Lock()
	pending := t.pending
	t.mu.Unlock()
	var r record
	_ = t.db.View(func(tx *bbolt.Tx) error { // a closed file knows nothing
		r = stored(tx, key)
		return nil
	})
	for _, b := range pending {
		if later, ok := b[key]; ok {
			r = r.merge(later)
		}
	}
	return r.current(t.old), r.Seen > 0 && !t.old(r.Seen)
}

// stored is a record of the file, empty when there is none.
func stored(tx *bbolt.Tx, key string) (r record) {
	if v := tx.Bucket(formatBucket).Get([]byte(key)); v != nil && json.Unmarshal(v, &r) != nil {
		return record{}
	}
	return r
}

// old reports whether what was seen at a time is to be forgotten.
func (t *Trail) old(seen int64) bool {
	return time.Since(time.Unix(seen, 0)) > t.options.MaxAge
}

// Learn puts places on the trail of a repository, unless the same was learnt
// there not long ago. It is an error when the context ends before there is room
// for them.
func (t *Trail) Learn(ctx context.Context, parent auth.Repository, places ...nested.Place) error {
	b := batch{}
	for _, p := range places {
		if !t.has(parent, p) {
			b.add(parent, p)
		}
	}
	return t.put(ctx, b)
}

// has reports whether the same as a place says was learnt not long ago.
func (t *Trail) has(parent auth.Repository, p nested.Place) bool {
	r, _ := t.record(key(parent, p.Descriptor().Digest))
	s := newStatement(parent, p, 0)
	for _, known := range r.Says {
		if known.isAbout(s) {
			return !slices.ContainsFunc(s.Targets, func(target string) bool {
				i := slices.Index(known.Targets, target)
				return i < 0 || !t.recent(known.Times[i])
			})
		}
	}
	return false
}

// recent reports whether what was seen at a time need not be written again.
func (t *Trail) recent(seen int64) bool {
	return time.Since(time.Unix(seen, 0)) < t.options.MaxAge/refreshes
}

// LearnDocument is Learn for what a document at a place points to, and that
// itself. served is who sent it.
func (t *Trail) LearnDocument(ctx context.Context, parent auth.Repository, p nested.Place, served auth.Repository, found []nested.Place) error {
	b := batch{}
	b.add(parent, found...)
	b.add(parent, p)
	b[documentKey(parent, p, served)] = record{Seen: now()}
	return t.put(ctx, b)
}

// refreshes is how often in its lifetime what is seen again is written again.
const refreshes = 30

// Learnt reports whether a document at a place was learnt, not long ago.
func (t *Trail) Learnt(parent auth.Repository, p nested.Place, served auth.Repository) bool {
	r, ok := t.record(documentKey(parent, p, served))
	return ok && t.recent(r.Seen)
}

// Fresh returns those of the places of which nothing is known.
func (t *Trail) Fresh(parent auth.Repository, places []nested.Place) (fresh []nested.Place) {
	t.mu.Lock()
	pending := t.pending
	t.mu.Unlock()
	known := func(b *bbolt.Bucket, key string) bool {
		for _, learnt := range pending {
			if _, ok := learnt[key]; ok {
				return true
			}
		}
		return b.Get([]byte(key)) != nil
	}
	_ = t.db.View(func(tx *bbolt.Tx) error {
		for _, p := range places {
			if !known(tx.Bucket(formatBucket), key(parent, p.Descriptor().Digest)) {
				fresh = append(fresh, p)
			}
		}
		return nil
	})
	return fresh
}

// Prefer is LearnDocument for a plain document that the repository itself has,
// and what that points to, as far as others say that it is elsewhere.
func (t *Trail) Prefer(ctx context.Context, parent auth.Repository, p nested.Place, found []nested.Place) error {
	b, fresh := batch{}, map[digest.Digest]bool{}
	for _, p := range t.Fresh(parent, append(found[:len(found):len(found)], p)) {
		fresh[p.Descriptor().Digest] = true
	}
	for _, p := range append(found[:len(found):len(found)], p) {
		d := p.Descriptor().Digest
		if known, _ := t.Place(parent, d); !fresh[d] && (!known.Own(parent) || !slices.Contains(known.Fields().Targets, parent)) {
			b.add(parent, p)
		}
	}
	if len(fresh) == 0 {
		b[documentKey(parent, p, parent)] = record{Seen: now()}
	}
	return t.put(ctx, b)
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

// maxPending bounds the records that wait to be written. Who learns more waits
// for room, but a small document, such as an image's manifest, not behind the
// large ones of others.
const maxPending, smallBatch = 30_000, 100

// put makes a batch known, and has it written. It is not learnt when the
// context ends before there is room for it.
func (t *Trail) put(ctx context.Context, b batch) error {
	if len(b) == 0 {
		return nil
	}
	for {
		t.mu.Lock()
		if t.stuck && t.waiting >= maxPending {
			t.pending, t.waiting = nil, 0
		}
		if t.waiting == 0 || t.waiting+len(b) <= maxPending || len(b) <= smallBatch && t.waiting < 2*maxPending {
			t.pending, t.waiting = append(t.pending, b), t.waiting+len(b)
			t.mu.Unlock()
			break
		}
		written := t.written
		t.mu.Unlock()
		select {
		case <-written:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return nil
}

// Roots returns the nested indexes that were found in a repository itself, the
// latest first, and not more than so many.
func (t *Trail) Roots(parent auth.Repository, most int) []nested.Place {
	r, _ := t.record(rootsKey(parent))
	var roots []nested.Place
	for _, root := range r.Roots[:min(len(r.Roots), most)] {
		content, _ := t.record(key(parent, root.Digest))
		for _, s := range content.Says {
			if p, ok := s.place(parent, root.Digest); ok && s.root() {
				roots = append(roots, p)
				break
			}
		}
	}
	return roots
}
