// Package plugin makes a containerd that follows child namespaces
// (docs/spec.md) in every pull through its transfer service: those of ctr,
// nerdctl and CRI. Importing it is all that a build of containerd needs:
//
//	import _ "github.com/nestedoci/nested/plugin"
//
// Read the files in this order:
//
//   - plugin.go: [Registration], the plugin with its settings;
//   - wrap.go: how containerd's own transfer service, its gRPC front and its
//     image verifiers are wrapped; service.go: the service in its place;
//   - pull.go with progress.go and refuse.go: the service transfers the root
//     and each member under its own name;
//   - view.go: the destination as one such transfer sees it;
//   - caller.go: the client's own credentials and settings, and the requests
//     that are made with them;
//   - push.go: pushes of nested indexes.
//
// Package config has the settings' rules; docs/containerd.md is the manual.
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

// current are the settings since the plugin was initialised; nil before that,
// and when they are wrong. containerd has one set of plugins in a process.
var current atomic.Pointer[settings]

// settings are the configuration's section, with the node's credential stores
// that it names.
type settings struct {
	*config.Plugin
	node auth.Source
}

func newSettings(p *config.Plugin) *settings { return &settings{p, p.Stores(nil)} }

// Registration returns the plugin: its section of containerd's configuration,
// [plugins."io.containerd.internal.v1.nested"], and its check. When the section
// is wrong the plugin fails to load, with an error that lists every problem,
// and containerd pulls as without the plugin.
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
