package main

import (
	"strings"

	"github.com/nestedoci/nested/internal/usage"
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
