package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/ctd"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/pin"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
)

// advise returns the text of an error that ended a command, with the next steps
// behind it that the error does not say itself. Options of libraries are flags
// here, where they have them.
func advise(cmd *cobra.Command, err error) string {
	text := err.Error()
	if about, ok := err.(usage.Error); ok && about.Option != "" { //nolint:errorlint // its text begins with the option
		text = "--" + text + "; see " + cmd.CommandPath() + " --help"
	}
	for _, step := range append(remediesFor(cmd, err), advice(err)) {
		if step != "" && !strings.Contains(text, step) {
			text += "; " + step
		}
	}
	return text
}

// advice is what to do about an error that comes from below all that knows the
// command.
func advice(err error) string {
	var plain tls.RecordHeaderError
	var untrusted *tls.CertificateVerificationError
	var unknown *net.DNSError
	switch {
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return "the registry answers without TLS: --plain-http asks it so, or server in its hosts.toml"
	case errors.As(err, &untrusted):
		return "name the CA of its certificate as ca in the registry's hosts.toml"
	case errors.As(err, &unknown):
		return "check the registry's name and this machine's DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "check the registry's address, and that it runs"
	case errors.Is(err, node.ErrNotInstalled):
		return "run nestctl install --mode MODE --registry HOST"
	}
	return ""
}

// remedy is how a user makes another choice.
type remedy struct {
	flag string // that the command must have; "" where another command is named
	step string
}

// remedies are for what libraries call avoidable.
var remedies = map[usage.Choice]remedy{
	bundle.BySparse:      {"sparse", "--sparse leaves out what SRC does not have"},
	bundle.BySelection:   {"member", "choose with --member or --platform"},
	bundle.ByAll:         {"flatten", "copy without --platform, --member and --sparse, or use --flatten"},
	bundle.ByFromParents: {"from-parents", "or give it to the member's readers with --from-parents"},
	bundle.ByFlatten:     {"", "use another registry, or nestctl copy --flatten to make a plain index in one repository (docs/registries.md)"},
	bundle.ByNoProtect:   {"no-protect", "without the right to push there use --no-protect"},
	bundle.ByStrategy: {"strategy", "use --strategy carrier (it takes an image manifest that carries the index), or --strategy anchor of nestctl index create " +
		"(the members' content in the index's repository, too, for all who may read that)"},
	bundle.ByNewIndex:    {"", "make one with nestctl index create"},
	bundle.ByRemove:      {"", "take it out with nestctl index remove"},
	pin.ByPlatform:       {"platform", "choose with --platform, or write the digest of the right one there"},
	pin.ByAllowUnmatched: {"allow-unmatched", "--allow-unmatched leaves such images as they are"},
	pin.ByFormat:         {"format", "choose with --member or use another --format"},
	ctd.ByAddress:        {"address", "start it, name its --address, or pull into a directory with --to oci-layout:DIR"},
}

// remediesFor are the steps that a command's flags, or other commands, allow.
func remediesFor(cmd *cobra.Command, err error) []string {
	var steps []string
	for _, by := range choices(err) {
		if r := remedies[by]; r.flag == "" || cmd.Flags().Lookup(r.flag) != nil {
			steps = append(steps, r.step)
		}
	}
	return steps
}

// choices are what would have avoided an error and its causes, innermost first.
func choices(err error) []usage.Choice {
	var found []usage.Choice
	for avoidable := new(usage.Avoidable); errors.As(err, &avoidable); err = avoidable.Err {
		found = append(found, avoidable.By)
	}
	slices.Reverse(found)
	return found
}
