package transport

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
)

// held keeps documents that were read to answer a HEAD, for the GET that
// follows. They are given to the same caller only, once, unless their memory is
// needed before.
type held struct {
	mu     sync.Mutex
	all    map[heldKey]heldDocument
	closed bool
}

type heldKey struct {
	repository auth.Repository
	digest     digest.Digest
	caller     Caller
}

type heldDocument struct {
	*document
	until time.Time
}

// placeBytes is about what a place takes in memory.
const placeBytes = 512

// put keeps a document, which is the caller's no longer, and returns what a
// HEAD is told of it.
func (h *held) put(ctx context.Context, q Request, d *document) *document {
	head := *d
	head.data, head.rest, head.fresh, head.room, head.decoded = nil, nil, nil, nil, nil
	if !d.whole() || d.room == nil {
		_ = d.close() // only its headers are wanted
		return &head
	}
	if n := int64(len(d.fresh)); n > 0 && !d.room.Grow(n*placeBytes+int64(len(d.data))) {
		d.fresh = nil
	}
	d.decoded.Release()
	budgetOf(ctx).leave(d.room)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for k, old := range h.all {
		if now.After(old.until) {
			h.drop(k)
		}
	}
	if h.all == nil {
		h.all = map[heldKey]heldDocument{}
	}
	k := heldKey{q.repository, d.digest, q.caller}
	h.drop(k)
	if h.closed {
		d.room.Release()
		return &head
	}
	h.all[k] = heldDocument{d, now.Add(heldTime)}
	d.room.Idle(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.all[k].document == d {
			delete(h.all, k)
		}
	})
	return &head
}

// drop takes a document out. The caller holds the lock.
func (h *held) drop(k heldKey) {
	if d, ok := h.all[k]; ok {
		d.room.Release()
		delete(h.all, k)
	}
}

func (h *held) take(ctx context.Context, q Request, d digest.Digest) (*document, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := heldKey{q.repository, d, q.caller}
	found, ok := h.all[k]
	if !ok {
		return nil, false
	}
	if time.Now().After(found.until) || !found.room.Use() {
		h.drop(k)
		return nil, false
	}
	delete(h.all, k)
	budgetOf(ctx).adopt(found.room)
	return found.document, true
}

// close gives up all, for good.
func (h *held) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for k := range h.all {
		h.drop(k)
	}
}
