// Command containerd-nested is containerd with the plugin that follows child
// namespaces. It takes the place of containerd (docs/containerd.md).
package main

import (
	"context"
	"fmt"
	"os"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"

	_ "github.com/nestedoci/nested/plugin"
)

// version is set when a release is built.
var version = "devel"

func main() {
	app := command.App()
	app.Version += " with nested " + version
	if err := app.Run(context.Background(), os.Args); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "containerd-nested:", err)
		os.Exit(1)
	}
}
