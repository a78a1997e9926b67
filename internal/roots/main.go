// Command roots prints the root CAs of Mozilla's store in PEM, as go.mod pins them. Released images get them from here, and
// so are the same wherever they are built. It is a module of its own: no user of the library needs them.
package main

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"os"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "roots:", err)
		os.Exit(1)
	}
}

// run leaves out roots that Mozilla trusts on conditions, such as for certificates issued before a date: PEM cannot say those.
func run() error {
	out := bufio.NewWriter(os.Stdout)
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return err
		}
	}
	return out.Flush()
}
