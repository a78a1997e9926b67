package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// TrailOptions are the settings of a [Trail].
type TrailOptions struct {
	MaxAge   time.Duration // what was not seen for so long is forgotten; 30 days
	MaxBytes int64         // of the file; beyond it the oldest is forgotten; 64 MiB
	// Probe reads a file as [ProbeTrail] does, where it may end the process:
	// bbolt faults on some damaged files. nil means that the file is sound.
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

	mu      sync.Mutex
	pending map[string]*record // learnt and not yet written

	wake chan struct{} // there is something to write
	stop chan struct{}
	once sync.Once // closes stop
	done chan struct{}
}

// record is what is kept of a place. Repositories are relative to the one in
// the key: "" is that itself, "web" the one below it.
type record struct {
	Seen      int64    `json:"s"` // Unix time in seconds
	MediaType string   `json:"t"`
	Size      int64    `json:"n"`
	Targets   []string `json:"r"`
	Fallbacks []string `json:"f,omitempty"`
	Depth     int      `json:"d,omitempty"`
	Strict    bool     `json:"x,omitempty"`
	Entry     bool     `json:"e,omitempty"`
	Carried   bool     `json:"c,omitempty"`
}

var (
	formatBucket = []byte("nested-trail-1")
	errFormat    = errors.New("not a trail of this format")
)

// OpenTrail opens the file, and makes it when there is none. One that is
// damaged or of another format is put aside under a name of its own, with a
// warning, and an empty one takes its place. It is an error when another
// process has it open.
func OpenTrail(path string, options TrailOptions) (*Trail, error) {
	db, err := openTrail(path, options)
	if err != nil && !errors.Is(err, bbolterrors.ErrTimeout) && !errors.Is(err, os.ErrPermission) {
		aside := fmt.Sprintf("%s.unreadable-%d", path, time.Now().Unix())
		log.L.WithError(err).Warnf("the trail cannot be read: it is put aside as %s; bundles are found again when they are next pulled", aside)
		if err = os.Rename(path, aside); err == nil {
			db, err = openTrail(path, TrailOptions{})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("trail %s: %w", path, err)
	}
	options.MaxAge = cmp.Or(options.MaxAge, 30*24*time.Hour)
	options.MaxBytes = cmp.Or(options.MaxBytes, 64<<20)
	t := &Trail{
		options: options,
		db:      db,
		pending: map[string]*record{},
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	go t.write()
	return t, nil
}

func openTrail(path string, options TrailOptions) (*bbolt.DB, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is a %s, not a file", info.Mode().Type())
	case err == nil && !ownFile(info):
		return nil, errors.New("it belongs to another user or can be written by others")
	case err == nil && options.Probe != nil:
		if err = options.Probe(path); err != nil {
			return nil, err
		}
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if k, _ := tx.Cursor().First(); k != nil && !bytes.Equal(k, formatBucket) {
			return errFormat
		}
		_, makeErr := tx.CreateBucketIfNotExists(formatBucket)
		return makeErr
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// ProbeTrail reads a whole file. It may not return: a damaged one can end the
// process.
func ProbeTrail(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error { // as a writer, so that the free pages are read, too
		for err := range tx.Check() {
			return err
		}
		b := tx.Bucket(formatBucket)
		if b == nil {
			return errFormat
		}
		return b.ForEach(func(_, v []byte) error { return json.Unmarshal(v, new(record)) })
	})
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
	return r.place(parent, d)
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
	return r, ok && !t.expired(r)
}

func (t *Trail) expired(r record) bool {
	return time.Since(time.Unix(r.Seen, 0)) > t.options.MaxAge
}

// Learn puts places on the trail of a repository. Their candidates come
// before those that were known.
func (t *Trail) Learn(parent auth.Repository, places ...nested.Place) {
	fresh := map[digest.Digest]nested.Place{}
	for _, p := range places {
		d := p.Descriptor.Digest
		if known, ok := fresh[d]; ok {
			p = known.Merge(p)
		}
		fresh[d] = p
	}
	for d, p := range fresh {
		k := key(parent, d)
		if old, ok := t.Place(parent, d); ok {
			p = p.Merge(old)
		}
		t.put(k, newRecord(parent, p))
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
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
		if !t.expired(r) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return int(found[b].Seen - found[a].Seen) })
	var places []nested.Place
	for _, k := range keys {
		_, d, _ := strings.Cut(k, "\x00")
		if p, ok := found[k].place(parent, digest.Digest(d)); ok {
			places = append(places, p)
		}
	}
	return places
}

// root tells whether the record is of an index found in the repository
// itself.
func (r record) root() bool { return r.Depth == 0 && images.IsIndexType(r.MediaType) }

func newRecord(parent auth.Repository, p nested.Place) record {
	return record{
		Seen:      time.Now().Unix(),
		MediaType: p.Descriptor.MediaType,
		Size:      p.Descriptor.Size,
		Targets:   relative(parent, p.Targets),
		Fallbacks: relative(parent, p.Fallbacks),
		Depth:     p.Depth,
		Strict:    p.Strict,
		Entry:     p.Entry,
		Carried:   p.Carried,
	}
}

func relative(parent auth.Repository, repositories []auth.Repository) []string {
	names := make([]string, len(repositories))
	for i, r := range repositories {
		names[i] = strings.TrimPrefix(strings.TrimPrefix(r.String(), parent.String()), "/")
	}
	return names
}

// place reads a record back. What does not read as a place below the parent is
// none.
func (r record) place(parent auth.Repository, d digest.Digest) (nested.Place, bool) {
	p := nested.Place{
		Descriptor: ocispec.Descriptor{MediaType: r.MediaType, Digest: d, Size: r.Size},
		Depth:      r.Depth,
		Strict:     r.Strict,
		Entry:      r.Entry,
		Carried:    r.Carried,
	}
	var ok, all bool
	p.Targets, ok = absolute(parent, r.Targets)
	p.Fallbacks, all = absolute(parent, r.Fallbacks)
	return p, ok && all && len(p.Targets) > 0
}

func absolute(parent auth.Repository, names []string) ([]auth.Repository, bool) {
	var repositories []auth.Repository
	for _, name := range names {
		child := nested.Child{}
		if name != "" {
			var err error
			if child, err = nested.ParseChild(name); err != nil {
				return nil, false
			}
		}
		r, err := child.In(parent)
		if err != nil {
			return nil, false
		}
		repositories = append(repositories, r)
	}
	return repositories, true
}
