package main

import (
	"fmt"
	"io"
)

// warnOfCleanUp warns about what a registry's clean-up may do to published
// content (docs/spec.md, section 8b). The clean-up may run weeks later, when
// its effect is hard to connect with this command.
func warnOfCleanUp(stderr io.Writer, strategy string, noProtect bool) {
	if strategy == "reference" {
		fmt.Fprintln(stderr, "warning: --strategy reference: the clean-up of a registry that does not know child namespaces may delete the index, "+
			"or fail for the whole registry; --strategy carrier avoids that (docs/registries.md)")
	}
	if noProtect {
		fmt.Fprintln(stderr, "warning: --no-protect: a registry's clean-up may delete members, or parts of them, that have no tag in their own repository; "+
			"tag them there yourself (docs/registries.md)")
	}
}
