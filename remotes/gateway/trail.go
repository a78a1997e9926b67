package gateway

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
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
// were pulled from and a digest, a [nested.Place]; and which nested indexes
// were found in the repository. What was learnt is known at once and written
// soon after; a crash loses at most what was not written, which is then
// searched for.
type Trail struct {
	options TrailOptions
	db      *bbolt.DB

	learning sync.Mutex // held while places are merged

	mu      sync.Mutex
	pending map[string]*record // learnt and not yet written

	wake chan struct{} // there is something to write
	stop chan struct{}
	once sync.Once // closes stop
	done chan struct{}
}

// key is of fixed parts: none of them has a NUL in it.
func key(parent auth.Repository, d digest.Digest) string {
	return parent.String() + "\x00" + d.String()
}

// Place returns where content may be that was asked for in a repository.
func (t *Trail) Place(parent auth.Repository, d digest.Digest) (nested.Place, bool) {
	r, ok := t.record(key(parent, d))
	if !ok {
		return nested.Place{}, false
	}
	return t.current(r).place(parent, d)
}

// current is a record without the targets that were not seen for too long.
func (t *Trail) current(r record) record {
	targets, times := []string{}, []int64{}
	for i, at := range r.Times {
		if i < len(r.Targets) && !t.old(at) {
			targets, times = append(targets, r.Targets[i]), append(times, at)
		}
	}
	r.Targets, r.Times = targets, times
	return r
}

func (t *Trail) record(key string) (r record, ok bool) {
	t.mu.Lock()
	p, ok := t.pending[key]
	t.mu.Unlock()
	if ok {
		r = *p
	} else {
		_ = t.db.View(func(tx *bbolt.Tx) error { // a closed file knows nothing
			v := tx.Bucket(formatBucket).Get([]byte(key))
			ok = v != nil && json.Unmarshal(v, &r) == nil
			return nil
		})
	}
	return r, ok && !t.old(r.Seen)
}

// old tells whether what was seen at a time is to be forgotten.
func (t *Trail) old(seen int64) bool {
	return time.Since(time.Unix(seen, 0)) > t.options.MaxAge
}

// Learn puts places on the trail of a repository. Their candidates come
// before those that were known. It returns those of which nothing was known, in
// their order.
func (t *Trail) Learn(parent auth.Repository, places ...nested.Place) (fresh []nested.Place) {
	return t.learn(parent, places, func(nested.Place, bool) bool { return true })
}

// LearnNew is Learn for places of which nothing is known.
func (t *Trail) LearnNew(parent auth.Repository, places ...nested.Place) {
	t.learn(parent, places, func(_ nested.Place, known bool) bool { return !known })
}

// Prefer is Learn for places of which something else is known.
func (t *Trail) Prefer(parent auth.Repository, places ...nested.Place) {
	t.learn(parent, places, func(known nested.Place, ok bool) bool { return ok && known.Targets[0] != parent })
}

func (t *Trail) learn(parent auth.Repository, places []nested.Place, wanted func(known nested.Place, ok bool) bool) (fresh []nested.Place) {
	merged := map[digest.Digest]nested.Place{}
	var order []digest.Digest
	for _, p := range places {
		d := p.Descriptor.Digest
		same, ok := merged[d]
		if ok {
			p = same.Merge(p)
		} else {
			order = append(order, d)
		}
		merged[d] = p
	}
	t.learning.Lock()
	defer t.learning.Unlock()
	for _, d := range order {
		p := merged[d]
		k := key(parent, d)
		old, ok := t.record(k)
		old = t.current(old)
		known, valid := old.place(parent, d)
		ok = ok && valid
		if !wanted(known, ok) {
			continue
		}
		if ok {
			p = p.Merge(known)
		} else {
			fresh = append(fresh, p)
		}
		t.put(k, newRecord(parent, p).keepTimes(old, len(merged[d].Targets)))
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return fresh
}

// maxPending bounds what is kept in memory when it cannot be written.
const maxPending = 200_000

func (t *Trail) put(key string, r record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) >= maxPending {
		clear(t.pending)
	}
	t.pending[key] = &r
}

// Roots returns the nested indexes that were found in a repository itself, the
// latest first.
func (t *Trail) Roots(parent auth.Repository) []nested.Place {
	prefix := parent.String() + "\x00"
	found := map[string]record{}
	_ = t.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(formatBucket).Cursor()
		for k, v := c.Seek([]byte(prefix)); bytes.HasPrefix(k, []byte(prefix)); k, v = c.Next() {
			var r record
			if json.Unmarshal(v, &r) == nil && r.root() {
				found[string(k)] = r
			}
		}
		return nil
	})
	t.mu.Lock()
	for k, r := range t.pending {
		if r.root() && strings.HasPrefix(k, prefix) {
			found[k] = *r
		}
	}
	t.mu.Unlock()
	return t.sorted(parent, found)
}

func (t *Trail) sorted(parent auth.Repository, found map[string]record) []nested.Place {
	keys := make([]string, 0, len(found))
	for k, r := range found {
		if !t.old(r.Seen) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return int(found[b].Seen - found[a].Seen) })
	var places []nested.Place
	for _, k := range keys {
		_, d, _ := strings.Cut(k, "\x00")
		if p, ok := t.current(found[k]).place(parent, digest.Digest(d)); ok {
			places = append(places, p)
		}
	}
	return places
}
