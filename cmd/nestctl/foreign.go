package main

import (
	"github.com/containerd/containerd/v2/core/images"
)

// Layers that may not be distributed (image-spec, "Non-Distributable Layers";
// Docker's foreign layers) stay where they are: clients get them from their
// URLs. copy, and layouts and archives, leave them out as other tools do, also
// where a registry happens to have one, and say so.

// isForeign reports whether content of a media type is not to be distributed.
func isForeign(mediaType string) bool { return images.IsNonDistributable(mediaType) }

// leaveOut takes note of content that is left out, once.
func (w *walker) leaveOut(child *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.foreign == nil {
		w.foreign = map[string]bool{}
	}
	w.foreign[child.repository.String()+"@"+child.Digest.String()] = true
}
