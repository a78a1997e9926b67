package main

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/nestedoci/nested/internal/registrytest"
)

// checkTokens shows, from the registry's request log, which token each repository of a bundle saw,
// and checks that it was one, and that of the repository's own user.
func (d *demo) checkTokens(b bundle) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REPOSITORY\tREQUESTS\tTOKENS\tOF USER\tCREDENTIAL FROM")
	seen := map[string]bool{}
	for _, repository := range b.repositories() {
		i := slices.IndexFunc(d.users, func(u user) bool { return u.repository == repository })
		want := d.users[i]
		requests, err := d.checkRepository(want)
		if err != nil {
			return fmt.Errorf("repository %s: %w", repository, err)
		}
		if seen[want.name] {
			return fmt.Errorf("user %s has asked for two repositories", want.name)
		}
		seen[want.name] = true
		fmt.Fprintf(table, "%s\t%d\t1\t%s\t%s\n", repository, requests, want.name, want.source())
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// checkRepository returns how many requests a repository has answered.
func (d *demo) checkRepository(u user) (int, error) {
	scope := "repository:" + u.repository + ":pull"
	requested := d.registry.Count(registrytest.Of(registrytest.KindToken), func(q registrytest.Request) bool {
		return slices.Equal(q.Scopes, []string{scope})
	})
	if requested != 1 {
		return 0, fmt.Errorf("%d tokens were asked for, not one", requested)
	}
	tokens := map[string]bool{}
	requests := d.registry.Log(registrytest.In(u.repository), registrytest.WithCredentials)
	for _, q := range requests {
		tokens[q.Authorization] = true
		if q.User != u.name || !slices.Equal(q.Scopes, []string{scope}) {
			return 0, fmt.Errorf("it was asked in the name of %s for %v", q.User, q.Scopes)
		}
	}
	if len(tokens) != 1 {
		return 0, fmt.Errorf("%d tokens were shown, not one", len(tokens))
	}
	return len(requests), nil
}

// repositories are the bundle's own and those of its members.
func (b bundle) repositories() []string {
	names := []string{b.repository}
	for _, m := range b.members {
		names = append(names, b.repository+"/"+m)
	}
	return names
}
