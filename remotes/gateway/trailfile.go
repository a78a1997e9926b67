package gateway

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/containerd/log"
	"go.etcd.io/bbolt"
)

// pruneInterval is how often the trail looks whether it has grown too old or
// too large.
const pruneInterval = time.Hour

// write writes what was learnt until the trail is closed. It is not on the
// path of an answer.
func (t *Trail) write() {
	defer close(t.done)
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for open := true; open; {
		err := error(nil)
		select {
		case <-t.wake:
			if err = t.flush(); err == nil && t.Size() > t.options.MaxBytes {
				err = t.prune()
			}
		case <-tick.C:
			err = t.prune()
		case <-t.stop:
			open = false
			err = t.flush()
		}
		if err != nil {
			log.L.WithError(err).Warn("the trail cannot be written; what was learnt since is kept in memory")
		}
	}
}

// Close writes what is pending and closes the file. Afterwards the trail
// knows nothing. Closing it again does nothing.
func (t *Trail) Close() error {
	t.once.Do(func() { close(t.stop) })
	<-t.done
	return t.db.Close()
}

// flush writes what is pending, not much more than one large document at a time.
func (t *Trail) flush() error {
	t.writing.Lock()
	defer t.writing.Unlock()
	for {
		t.mu.Lock()
		n, records := 0, 0
		for ; n < len(t.pending) && (n == 0 || records+len(t.pending[n]) <= maxPending/2); n++ {
			records += len(t.pending[n])
		}
		batches := t.pending[:n]
		t.mu.Unlock()
		if n == 0 {
			return nil
		}
		err := t.writeAll(batches)
		t.mu.Lock()
		if t.stuck = err != nil; err == nil && len(t.pending) >= n { // it is shorter when it was given up
			t.pending, t.waiting = slices.Clone(t.pending[n:]), t.waiting-records
		}
		close(t.written)
		t.written = make(chan struct{})
		t.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// writeAll merges batches with what is in the file, in one transaction.
func (t *Trail) writeAll(batches []batch) error {
	t.transactions.Add(1)
	all := map[string]record{}
	for _, b := range batches {
		for k, r := range b {
			if before, ok := all[k]; ok {
				r = before.merge(r)
			}
			all[k] = r
		}
	}
	return t.db.Update(func(tx *bbolt.Tx) error {
		for _, k := range slices.Sorted(maps.Keys(all)) {
			r := all[k]
			if before := stored(tx, k); before.Seen > 0 {
				r = before.current(t.old).merge(r)
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

// Size returns the bytes in use. The file does not shrink; what was freed is
// used again.
func (t *Trail) Size() int64 {
	var size int64
	_ = t.db.View(func(tx *bbolt.Tx) error { // a closed file has none
		stats := t.db.Stats()
		size = tx.Size() - int64((stats.FreePageN+stats.PendingPageN)*t.db.Info().PageSize)
		return nil
	})
	return size
}

// prune takes out what is too old, and the oldest of what is too much.
func (t *Trail) prune() error {
	return t.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(formatBucket)
		oldest := t.oldest(b)
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
func (t *Trail) oldest(b *bbolt.Bucket) int64 {
	oldest := time.Now().Add(-t.options.MaxAge).Unix()
	sizes := map[int64]int64{} // by the time at which it was seen
	_ = b.ForEach(func(k, v []byte) error {
		sizes[seen(v)] += int64(len(k) + len(v))
		return nil
	})
	// Pages are half full at worst, and there is to be room for a while.
	room := t.options.MaxBytes / 4
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
