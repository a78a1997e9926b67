package plugin

import (
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/transfer"
)

// progress makes one report of the reports of several transfers. The caller's
// function is called by one of them at a time.
type progress struct {
	mu     sync.Mutex
	report transfer.ProgressFunc // nil: nobody listens
	last   *transfer.Progress    // containerd's word that all is done, kept until it is
}

func newProgress(opts []transfer.Opt) *progress {
	var c transfer.Config
	for _, o := range opts {
		o(&c)
	}
	return &progress{report: c.Progress}
}

func (p *progress) send(event transfer.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report(event)
}

// ofRoot reports the transfer of the root.
func (p *progress) ofRoot(v *view) []transfer.Opt {
	if p.report == nil {
		return nil
	}
	return []transfer.Opt{transfer.WithProgress(func(event transfer.Progress) {
		if event.Name == "" && strings.HasPrefix(event.Event, "Completed") && v.nested {
			p.last = &event
			return
		}
		p.send(event)
	})}
}

// ofMember reports the transfer of a member: its content, below its own name.
func (p *progress) ofMember() []transfer.Opt {
	if p.report == nil {
		return nil
	}
	return []transfer.Opt{transfer.WithProgress(func(event transfer.Progress) {
		if event.Name != "" { // otherwise it is about the state of the whole
			p.send(event)
		}
	})}
}

// end reports what was stored, and that all is done.
func (p *progress) end(stored []images.Image) {
	if p.report == nil {
		return
	}
	for _, image := range stored {
		p.send(transfer.Progress{Event: "saved", Name: image.Name, Desc: &image.Target})
	}
	if p.last != nil {
		p.send(*p.last)
	}
}
