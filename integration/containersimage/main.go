// Command containersimage copies an image as current versions of skopeo do, for the tests: Debian has older ones, and
// skopeo's own module is not in the Go module proxy.
//
//	containersimage [-all] [-platform OS/ARCH] SOURCE DIRECTORY
//
// SOURCE is a reference as in docker://SOURCE. What has been copied is in DIRECTORY, an OCI layout, under the tag v1.
// Registries, certificates and credentials are where those programs look for them. Signatures are not looked for.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/oci/layout"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

func main() {
	all := flag.Bool("all", false, "copy all members, and change nothing")
	platform := flag.String("platform", "linux/amd64", "of the image to copy")
	flag.Parse()
	if err := run(*all, *platform, flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(all bool, platform, from, to string) error {
	source, err := docker.ParseReference("//" + from)
	if err != nil {
		return err
	}
	destination, err := layout.NewReference(to, "v1")
	if err != nil {
		return err
	}
	policy, err := signature.NewPolicyContext(&signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}})
	if err != nil {
		return err
	}
	options := &copy.Options{SourceCtx: &types.SystemContext{}}
	options.SourceCtx.OSChoice, options.SourceCtx.ArchitectureChoice, _ = strings.Cut(platform, "/")
	if all {
		options.ImageListSelection, options.PreserveDigests = copy.CopyAllImages, true
	}
	_, err = copy.Image(context.Background(), policy, destination, source, options)
	return err
}
