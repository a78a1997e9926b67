package find

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// held keeps manifests and indexes that were read to answer a HEAD, for the GET
// that follows. They are served to the same caller only, once, unless they are
// evicted before.
type held struct {
	mu     sync.Mutex
	all    map[heldKey]heldContent
	closed bool
}

type heldKey struct {
	repository auth.Repository
	digest     digest.Digest
	caller     callers.Caller
}

type heldContent struct {
	*content
	until time.Time
}

// placeBytes is about what a place takes in memory.
const placeBytes = 512

// put keeps content, which is the caller's no longer, and returns what answers a
// HEAD.
func (h *held) put(ctx context.Context, q Request, c *content) *content {
	head := *c
	head.data, head.rest, head.next, head.memory, head.decodedMemory = nil, nil, nil, nil, nil
	if !c.buffered() || c.memory == nil {
		_ = c.close() // only its headers are wanted
		return &head
	}
	if n := int64(len(c.next)); n > 0 && !c.memory.Grow(n*placeBytes+int64(len(c.data))) {
		c.next = nil
	}
	c.decodedMemory.Release()
	budgetOf(ctx).disown(c.memory)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for k, old := range h.all {
		if now.After(old.until) {
			h.drop(k)
		}
	}
	if h.all == nil {
		h.all = map[heldKey]heldContent{}
	}
	k := heldKey{q.repository, c.digest, q.caller}
	h.drop(k)
	if h.closed {
		c.memory.Release()
		return &head
	}
	h.all[k] = heldContent{c, now.Add(heldTime)}
	c.memory.Idle(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.all[k].content == c {
			delete(h.all, k)
		}
	})
	return &head
}

// drop releases held content. The caller holds the lock.
func (h *held) drop(k heldKey) {
	if d, ok := h.all[k]; ok {
		d.memory.Release()
		delete(h.all, k)
	}
}

func (h *held) take(ctx context.Context, q Request, d digest.Digest) (*content, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := heldKey{q.repository, d, q.caller}
	found, ok := h.all[k]
	if !ok {
		return nil, false
	}
	if time.Now().After(found.until) || !found.memory.Use() {
		h.drop(k)
		return nil, false
	}
	delete(h.all, k)
	budgetOf(ctx).adopt(found.memory)
	return found.content, true
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

// forget gives up what has a digest, whoever it is for.
func (h *held) forget(in auth.Repository, d digest.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := range h.all {
		if k.repository == in && k.digest == d {
			h.drop(k)
		}
	}
}
