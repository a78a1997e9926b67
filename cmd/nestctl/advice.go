package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/nestedoci/nested/internal/commandline"
	"github.com/nestedoci/nested/internal/ctd"
	"github.com/nestedoci/nested/internal/node"
	"github.com/nestedoci/nested/internal/pin"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/internal/sources"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/layout"
	"github.com/nestedoci/nested/remotes/bundle/lock"
	"github.com/nestedoci/nested/remotes/nested"
)

// advise returns the text of an error that ended a command, followed by the
// next steps that the error does not contain. Libraries name options, of which
// this prints the flags: the same library may be used by a program with other
// flags.
func advise(cmd *cobra.Command, err error) string {
	text := commandline.Plain(err)
	if about, ok := err.(usage.Error); ok && about.Option != "" { //nolint:errorlint // its text begins with the option
		text = "--" + text + "; see " + cmd.CommandPath() + " --help"
	}
	steps := append(remediesFor(cmd, err), advice(err))
	if steps = slices.DeleteFunc(steps, func(step string) bool { return step == "" }); len(steps) == 0 {
		steps = aboutAbsent(err)
	}
	for _, step := range steps {
		if !strings.Contains(text, step) {
			text += "; " + step
		}
	}
	return text
}

// aboutAbsent is what to do about content that is not there, when the error
// says nothing but that.
func aboutAbsent(err error) []string {
	plain, _, _ := strings.Cut(err.Error(), " (asked ") // the repositories of a member
	var child *nested.Error
	switch {
	case !errdefs.IsNotFound(err) || !strings.HasSuffix(plain, "not found") || strings.Contains(plain, "; "):
		return nil
	case strings.Contains(plain, ": blobs/"): // of a layout
		return []string{"the layout or archive is incomplete; make it anew"}
	case errors.As(err, &child):
		return []string{"push it there, or remove it from the index; nestctl check lists everything that is missing"}
	}
	return []string{"check the name, and the tag or digest"}
}

// advice is what to do about errors that come from the network or the system,
// whichever command made the request.
func advice(err error) string {
	var plain tls.RecordHeaderError
	var untrusted x509.UnknownAuthorityError
	var misnamed x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return `the registry answers without TLS; use --plain-http, or set server = "http://..." in its hosts.toml`
	case errors.As(err, &untrusted):
		return "name the CA of its certificate as ca in the registry's hosts.toml"
	case errors.As(err, &misnamed):
		return "use a name that the certificate is for: " + names(misnamed.Certificate)
	case errors.As(err, &invalid):
		return "tell those who run the registry, and check this machine's clock"
	case errors.As(err, &unknown):
		return "check the registry's name and this machine's DNS"
	case retry.IsRefused(err):
		return "check the registry's address, and that it is running"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "check the registry's address, and that no firewall is in between"
	case errors.Is(err, node.ErrNotInstalled):
		return "run nestctl install --mode MODE --registry HOST"
	}
	return ""
}

// names are the hosts that a certificate is for, a few of them.
func names(c *x509.Certificate) string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return strings.Join(all[:min(len(all), 3)], ", ")
}

// remedy is how a user chooses otherwise.
type remedy struct {
	flag string // the command must have it; "" where the step names another command
	step string
}

// remedies are the steps for the choices by which libraries say that an error
// could be avoided.
var remedies = map[usage.Choice]remedy{
	bundle.BySparse:      {"sparse", "--sparse leaves out what SRC does not have"},
	bundle.BySelection:   {"member", "choose with --member or --platform"},
	bundle.ByAll:         {"flatten", "copy without --platform, --member and --sparse, or use --flatten"},
	bundle.ByFromParents: {"from-parents", "or copy it for the member's readers with --from-parents"},
	bundle.ByFlatten:     {"", "use another registry, or nestctl copy --flatten to make a plain index in one repository (docs/registries.md)"},
	bundle.ByNoProtect:   {"no-protect", "without the right to push there use --no-protect"},
	bundle.ByStrategy: {"strategy", "use --strategy carrier (it takes an image manifest that carries the index), or --strategy anchor of nestctl index create " +
		"(the members' content in the index's repository, too, for all who may read that)"},
	layout.ByRoots:       {"all", "or copy all of them with --all"},
	bundle.ByNewIndex:    {"", "make one with nestctl index create"},
	lock.ByNewLock:       {"", "write the lock anew with nestctl resolve --format lock, or name the digest"},
	lock.ByRewriting:     {"", "write the lock anew with nestctl resolve --format lock"},
	bundle.ByRemove:      {"", "remove it with nestctl index remove"},
	bundle.ByCopy:        {"copy", "--copy copies it there first"},
	sources.ByFormat:     {"from-format", "say which with --from-format"},
	pin.ByPlatform:       {"platform", "choose with --platform, or write the right digest there"},
	pin.ByAllowUnmatched: {"allow-unmatched", "--allow-unmatched leaves such images as they are"},
	pin.ByFormat:         {"format", "choose with --member or use another --format"},
	ctd.ByAddress:        {"address", "start it, name its --address, or pull into a directory with --to oci-layout:DIR"},
}

// remediesFor returns the steps that this command's flags, or other commands,
// allow: a step with a flag that the command does not have would only lead to
// the next error.
func remediesFor(cmd *cobra.Command, err error) []string {
	var steps []string
	for _, by := range usage.Choices(err) {
		if r := remedies[by]; r.flag == "" || cmd.Flags().Lookup(r.flag) != nil {
			steps = append(steps, r.step)
		}
	}
	return steps
}
