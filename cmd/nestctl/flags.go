package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/containerd/platforms"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/internal/terminal"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// pairs reads KEY=VALUE. The value may contain "=" or be empty.
func pairs(flag string, list []string) (map[string]string, error) {
	all := map[string]string{}
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, usage.Errorf("--%s %q: must be KEY=VALUE", flag, s)
		}
		all[key] = value
	}
	return all, nil
}

// platformFlag returns the selection for --platform and --all-platforms; nil
// selects all. Platforms match exactly: by containerd's other rule, an arm64
// host would also pull members for arm/v7.
func platformFlag(platform string, all bool) (platforms.Matcher, error) {
	switch {
	case all && platform != "":
		return nil, usage.Errorf("--platform and --all-platforms exclude each other")
	case all:
		return nil, nil
	case platform == "":
		return platforms.OnlyStrict(bundle.HostPlatform()), nil
	}
	p, err := platforms.Parse(platform)
	if err != nil {
		return nil, usage.Errorf("--platform %q: must be os/architecture or os/architecture/variant, such as linux/arm64", platform)
	}
	return platforms.OnlyStrict(p), nil
}

// selectionFlags returns what --platform, --all-platforms and --member select. A
// path that cannot exist is a usage error, and not "not found".
func selectionFlags(platform string, all bool, members []string) (s bundle.Selection, err error) {
	s.Members = members
	if s.Platform, err = platformFlag(platform, all); err != nil {
		return s, err
	}
	for _, m := range members {
		if _, err = nested.ParseChild(m); err != nil {
			return s, usage.Errorf("--member %.64q: %w", m, err)
		}
	}
	return s, nil
}

// show prints a result as --format says: in its lines, or as JSON.
func show(out io.Writer, format string, result interface{ lines() terminal.Table }) error {
	if format == "json" {
		return sanitize.WriteJSON(out, result)
	}
	return result.lines().Print(out, terminal.Of(out))
}

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
