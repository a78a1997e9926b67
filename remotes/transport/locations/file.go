package locations

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/containerd/log"
	"go.etcd.io/bbolt"
)

// pruneInterval is how often the location cache looks whether it has grown too old or
// too large.
const pruneInterval = time.Hour

// write writes what was learnt until the location cache is closed. It is not on the
// path of an answer.
func (c *Cache) write() {
	defer close(c.done)
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for open := true; open; {
		err := error(nil)
		select {
		case <-c.wake:
			if err = c.Sync(); err == nil && c.Size() > c.options.MaxBytes {
				err = c.prune()
			}
		case <-tick.C:
			err = c.prune()
		case <-c.stop:
			open = false
			err = c.Sync()
		}
		if err != nil {
			log.L.WithError(err).Warn("location cache: it cannot be written; what was learnt since is kept in memory; see to the file system of gateway.state_dir")
		}
	}
}

// Close writes what is pending and closes the file. Afterwards the location cache
// knows nothing. Closing it again does nothing.
func (c *Cache) Close() error {
	c.once.Do(func() { close(c.stop) })
	<-c.done
	return c.db.Close()
}

// Sync writes what is pending, not much more than one large index at a time.
// It happens by itself; call it to know that it was done.
func (c *Cache) Sync() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		c.mu.Lock()
		n, records := 0, 0
		for ; n < len(c.pending) && (n == 0 || records+len(c.pending[n]) <= maxPending/2); n++ {
			records += len(c.pending[n])
		}
		batches := c.pending[:n]
		c.mu.Unlock()
		if n == 0 {
			return nil
		}
		err := c.writeAll(batches)
		c.mu.Lock()
		if c.stuck = err != nil; err == nil && len(c.pending) >= n { // it is shorter when it was given up
			c.pending, c.waiting = slices.Clone(c.pending[n:]), c.waiting-records
		}
		close(c.written)
		c.written = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// writeAll merges batches with what is in the file, in one transaction.
func (c *Cache) writeAll(batches []batch) error {
	c.transactions.Add(1)
	all := map[string]record{}
	for _, b := range batches {
		for k, r := range b {
			if before, ok := all[k]; ok {
				r = before.merge(r)
			}
			all[k] = r
		}
	}
	return c.db.Update(func(tx *bbolt.Tx) error {
		for _, k := range slices.Sorted(maps.Keys(all)) {
			r := all[k]
			if before := stored(tx, k); before.Seen > 0 {
				r = before.current(c.old).merge(r)
			}
			v, err := json.Marshal(r)
			if err == nil {
				err = tx.Bucket(formatBucket).Put([]byte(k), v)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Freeze keeps the file as it is until thaw is called, for a caller that copies
// it. What is learnt meanwhile is known and waits in memory, and callers that
// learn more than there is room for wait, too. Freeze itself waits for what is
// being written, and Close for thaw.
func (c *Cache) Freeze() (thaw func(), err error) {
	tx, err := c.db.Begin(true) // there is one writer at a time
	if err != nil {
		return nil, err
	}
	return func() { _ = tx.Rollback() }, nil // nothing was changed
}

// Stats are what a location cache has done since it was opened.
type Stats struct {
	LookUps      int64 // of keys, known or not
	Transactions int64 // that wrote what was learnt
}

// Stats returns what was done so far.
func (c *Cache) Stats() Stats { return Stats{c.looks.Load(), c.transactions.Load()} }

// Size returns the bytes in use. The file does not shrink; what was freed is
// used again.
func (c *Cache) Size() int64 {
	var size int64
	_ = c.db.View(func(tx *bbolt.Tx) error { // a closed file has none
		stats := c.db.Stats()
		size = tx.Size() - int64((stats.FreePageN+stats.PendingPageN)*c.db.Info().PageSize)
		return nil
	})
	return size
}

// prune takes out what is too old, and the oldest of what is too much.
func (c *Cache) prune() error {
	return c.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(formatBucket)
		oldest := c.oldest(b)
		var old [][]byte // deleting under a cursor would make it skip
		err := b.ForEach(func(k, v []byte) error {
			if seen(v) < oldest {
				old = append(old, k)
			}
			return nil
		})
		for _, k := range old {
			err = errors.Join(err, b.Delete(k))
		}
		return err
	})
}

// oldest returns the time before which what was seen last is to be forgotten.
func (c *Cache) oldest(b *bbolt.Bucket) int64 {
	oldest := time.Now().Add(-c.options.MaxAge).Unix()
	sizes := map[int64]int64{} // by the time at which it was seen
	_ = b.ForEach(func(k, v []byte) error {
		sizes[seen(v)] += int64(len(k) + len(v))
		return nil
	})
	// Pages are half full at worst, and there is to be room for a while.
	room := c.options.MaxBytes / 4
	latest := slices.Max(append(slices.Collect(maps.Keys(sizes)), 0))
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(sizes))) {
		if room -= sizes[at]; room < 0 && at < latest {
			return max(oldest, at+1)
		}
	}
	return oldest
}

// seen is when a record was seen, 0 for what is none.
func seen(v []byte) int64 {
	var r record
	if json.Unmarshal(v, &r) != nil {
		return 0
	}
	return r.Seen
}
