// Package system says which commands of nestctl need Linux, and what to use in their place elsewhere
// (docs/compatibility.md).
package system

import "fmt"

// Pull is the pull into containerd at its own address. One that is elsewhere, in a virtual machine, is named.
const Pull = "pull --to containerd"

// instead is, for each command that needs Linux, what to use elsewhere.
var instead = map[string]string{
	"gateway":   "use nestctl serve, which clients ask under a name of its own (docs/clients.md)",
	"install":   "run it on the node that pulls, or use nestctl serve here (docs/clients.md)",
	"uninstall": "run it on the node",
	"doctor":    "run it on the node; nestctl check verifies a bundle from here",
	Pull:        "use --to oci-layout:DIR or --to oci-archive:FILE, or name the --address of a containerd in a virtual machine",
}

// Check returns an error when a command needs Linux and a system, as in runtime.GOOS, is another.
func Check(goos, command string) error {
	if next, ok := instead[command]; ok && goos != "linux" {
		return fmt.Errorf("%s: needs Linux, and this is %s; %s", command, Name(goos), next)
	}
	return nil
}

// Name is what people call a system.
func Name(goos string) string {
	switch goos {
	case "darwin":
		return "macOS"
	case "windows":
		return "Windows"
	}
	return goos
}
