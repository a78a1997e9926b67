package bundle

import (
	"github.com/containerd/containerd/v2/core/images"
)

// Layers that may not be distributed (image-spec, "Non-Distributable Layers";
// Docker's foreign layers) stay where they are: clients get them from their
// URLs. copy, and layouts and archives, leave them out as other tools do, also
// where a registry happens to have one, and say so.

// IsForeign reports whether content of a media type is not to be distributed.
func IsForeign(mediaType string) bool { return images.IsNonDistributable(mediaType) }

// leaveOut takes note of content that is left out, once.
func (w *Walker) leaveOut(child *Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Foreign == nil {
		w.Foreign = map[string]bool{}
	}
	w.Foreign[child.Repository.String()+"@"+child.Digest.String()] = true
}
