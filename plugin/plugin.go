// Package plugin makes a containerd that follows child namespaces
// (docs/spec.md) in every pull through its transfer service: that of ctr,
// nerdctl and CRI. Importing it is all that a build of containerd needs:
//
//	import _ "github.com/nestedoci/nested/plugin"
//
// A reader meets: [Registration], the plugin with its settings; wrap, which
// puts a [service] around containerd's own transfer service; pull, which has
// that service transfer the root and each member under its own name; caller,
// which asks registries with what the caller brought; and records.
package plugin

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/plugins"
	_ "github.com/containerd/containerd/v2/plugins/transfer" // registers what is wrapped
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

func init() {
	r := Registration()
	registry.Register(&r)
	if err := wrapRegistered(); err != nil {
		panic(err) // a build that would not follow child namespaces
	}
}

// current holds the settings once the plugin is initialised. containerd has
// one set of plugins in a process.
var current atomic.Pointer[Settings]

// Registration returns the plugin: its settings in containerd's configuration,
// [plugins."io.containerd.internal.v1.nested"], and their check. When they are
// wrong it fails to load, and pulls stay as they are without it.
func Registration() plugin.Registration {
	settings := Default()
	return plugin.Registration{
		Type:   plugins.InternalPlugin,
		ID:     "nested",
		Config: &settings,
		InitFn: func(ic *plugin.InitContext) (any, error) {
			s := ic.Config.(*Settings)
			if err := s.check(); err != nil {
				return nil, err
			}
			current.Store(s)
			return s, nil
		},
	}
}

// wrapRegistered finds containerd's transfer service and wraps it.
func wrapRegistered() error {
	var found *plugin.Registration
	registry.Graph(func(r *plugin.Registration) bool {
		if r.Type == plugins.TransferPlugin && r.ID == "local" {
			found = r
		}
		return true
	})
	if found == nil {
		return errors.New("nested: this containerd registers no plugin io.containerd.transfer.v1.local")
	}
	inner := found.InitFn
	found.InitFn = func(ic *plugin.InitContext) (any, error) {
		made, err := inner(ic)
		if err != nil {
			return nil, err
		}
		next, ok := made.(transfer.Transferrer)
		if !ok {
			return nil, fmt.Errorf("nested: containerd's transfer service is a %T", made)
		}
		db, err := ic.GetSingle(plugins.MetadataPlugin)
		if err != nil {
			return nil, err
		}
		manager, err := ic.GetSingle(plugins.LeasePlugin)
		if err != nil {
			return nil, err
		}
		return &service{
			Transferrer: next,
			content:     db.(*metadata.DB).ContentStore(),
			leases:      manager.(leases.Manager),
			settings:    current.Load,
		}, nil
	}
	return nil
}
