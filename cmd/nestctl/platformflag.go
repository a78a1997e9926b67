package main

import (
	"github.com/containerd/platforms"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

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

// checkMembers checks the values of --member, so that a path that cannot exist
// is a usage error and not "not found".
func checkMembers(members []string) error {
	for _, m := range members {
		if _, err := nested.ParseChild(m); err != nil {
			return usage.Errorf("--member %.64q: %w", m, err)
		}
	}
	return nil
}
