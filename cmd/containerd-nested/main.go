// Command containerd-nested is containerd with the plugin that follows child
// namespaces. It takes the place of containerd (docs/containerd.md).
package main

import (
	"context"
	"errors"
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
	if err := run(app); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "containerd-nested:", err)
		os.Exit(1)
	}
}

// run runs containerd's command line: from 2.4 on it is made with another version of its library.
func run(app any) error {
	switch app := app.(type) {
	case interface{ Run([]string) error }:
		return app.Run(os.Args)
	case interface {
		Run(context.Context, []string) error
	}:
		return app.Run(context.Background(), os.Args)
	}
	return errors.New("this containerd has another command line than 2.3 and 2.4; build with one of these")
}
