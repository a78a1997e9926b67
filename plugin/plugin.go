// Package plugin makes a containerd that follows child namespaces
// (docs/spec.md) in every pull through its transfer service: those of ctr,
// nerdctl and CRI. Importing it is all that a build of containerd needs:
//
//	import _ "github.com/nestedoci/nested/plugin"
//
// A reader meets: [Registration], the plugin with its settings; wrap.go, which
// puts a service around containerd's own transfer service; pull, which has
// that service transfer the root and each member under its own name; view and
// the sources, which are what it sees of the caller's destination and source;
// and caller, which asks registries with what the caller brought.
package plugin

import (
	"sync/atomic"

	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"

	"github.com/nestedoci/nested/config"
	"github.com/nestedoci/nested/remotes/auth"
)

func init() {
	r := Registration()
	registry.Register(&r)
	if err := wrap(&current); err != nil {
		panic(err) // a build that would not follow child namespaces
	}
}

// current are the settings since the plugin was initialised; nil before, and
// when they are wrong. containerd has one set of plugins in a process.
var current atomic.Pointer[settings]

// settings are the section, and the node's credential stores that it names.
type settings struct {
	*config.Plugin
	node auth.Source
}

func newSettings(p *config.Plugin) *settings { return &settings{p, p.Stores(nil)} }

// Registration returns the plugin: its section of containerd's configuration,
// [plugins."io.containerd.internal.v1.nested"], and its check. When something
// is wrong there the plugin fails to load, with an error that lists it, and
// containerd pulls as it does without the plugin.
func Registration() plugin.Registration {
	section := config.DefaultPlugin().Table()
	return plugin.Registration{
		Type:   plugins.InternalPlugin,
		ID:     "nested",
		Config: &section,
		InitFn: func(ic *plugin.InitContext) (any, error) {
			section, err := config.ParsePlugin(*ic.Config.(*map[string]any))
			if err != nil {
				return nil, err
			}
			current.Store(newSettings(section))
			return section, nil
		},
	}
}
