package locations

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/containerd/log"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/nestedoci/nested/internal/trust"
)

// ErrDamaged is the error about a file that cannot be read as a location cache.
var ErrDamaged = errors.New("damaged")

// formatBucket holds all records, and its name says the format. The first
// one did not say which repository had said what.
var formatBucket = []byte("nested-trail-2")

// Open opens the file, and makes it when there is none. One that is
// damaged, of another format or not this process's own is put aside under a
// name of its own, with a warning, and an empty one takes its place. It is an
// error when another process has it open.
func Open(path string, options Options) (*Cache, error) {
	db, err := openChecked(path, options.Probe)
	if errors.Is(err, ErrDamaged) {
		aside := fmt.Sprintf("%s.unreadable-%d", path, time.Now().Unix())
		log.L.WithError(err).Warnf("location cache: put aside as %s; bundles are found again when they are next pulled", aside)
		if err = os.Rename(path, aside); err == nil {
			db, err = openChecked(path, nil)
		}
	}
	if errors.Is(err, bbolterrors.ErrTimeout) {
		err = errors.New("another process has it open; end that one first")
	}
	if err != nil {
		return nil, fmt.Errorf("location cache %s: %w", path, err)
	}
	return start(db, options), nil
}

// OpenInMemory makes a cache that ends with the process, or when it is closed.
// Options.MaxBytes bound its memory.
func OpenInMemory(options Options) (*Cache, error) {
	db, err := bbolt.Open("memory", 0o600, &bbolt.Options{NoSync: true, NoFreelistSync: true, OpenFile: func(string, int, os.FileMode) (*os.File, error) { return memoryFile() }})
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			_, makeErr := tx.CreateBucket(formatBucket)
			return makeErr
		})
	}
	if err != nil {
		return nil, fmt.Errorf("location cache in memory: %w", err)
	}
	return start(db, options), nil
}

// start starts a cache on an open file.
func start(db *bbolt.DB, options Options) *Cache {
	options.MaxAge = cmp.Or(options.MaxAge, 30*24*time.Hour)
	options.MaxBytes = cmp.Or(options.MaxBytes, 64<<20)
	c := &Cache{
		options: options,
		db:      db,
		written: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	go c.write()
	return c
}

func openChecked(path string, probe func(string) error) (*bbolt.DB, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil: // the file is made, or that fails below
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: not a file", ErrDamaged)
	case !trust.Own(info):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, trust.ErrNotOwn)
	case probe != nil:
		if err = probe(path); err != nil {
			return nil, err
		}
	}
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if k, _ := tx.Cursor().First(); k != nil && !bytes.Equal(k, formatBucket) {
			return fmt.Errorf("%w: another format", ErrDamaged)
		}
		_, makeErr := tx.CreateBucketIfNotExists(formatBucket)
		return makeErr
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// openFile opens the file as bbolt's, or says that it is damaged. Who owns it
// was looked at before; it is judged again when it is open, as somebody may
// have put another one in its place.
func openFile(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, OpenFile: trust.OpenOwn})
	for _, damage := range []error{bbolterrors.ErrInvalid, bbolterrors.ErrVersionMismatch, bbolterrors.ErrChecksum, trust.ErrNotOwn} {
		if errors.Is(err, damage) {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return db, err
}

// Probe reads all of a file. The error is [ErrDamaged]
// when that is what the file is. It may not return: a damaged one ends the
// process when reading it does not end by itself, or fills the memory. A file
// that another process has open is not read, and no error.
func Probe(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	defer close(done)
	go watchProbe(done, info.Size())
	db, err := openFile(path)
	if err != nil {
		if errors.Is(err, bbolterrors.ErrTimeout) {
			return nil
		}
		return err
	}
	defer db.Close()
	tx, err := db.Begin(true) // as a writer, so that the free pages are read, too
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of nothing
	for err := range tx.Check() {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	b := tx.Bucket(formatBucket)
	if b == nil {
		return nil // Open looks into that
	}
	return b.ForEach(func(_, v []byte) error {
		if json.Unmarshal(v, new(record)) != nil {
			return fmt.Errorf("%w: a record that cannot be read", ErrDamaged)
		}
		return nil
	})
}

// watchProbe ends the process unless a file of that size was read in a time
// and a memory that a sound one never takes.
func watchProbe(done <-chan struct{}, size int64) {
	deadline := time.After(time.Minute + time.Duration(size)*100) // 10 MB/s
	memory := uint64(96<<20 + size/4)
	debug.SetGCPercent(100) // whatever the environment says
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-deadline:
			panic("reading it does not end")
		case <-tick.C:
			if allocated() > memory {
				runtime.GC()
				if allocated() > memory {
					panic("reading it fills the memory")
				}
			}
		}
	}
}

// allocated are the bytes on the heap.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
