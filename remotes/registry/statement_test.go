package registry_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// supporting is the statement of a registry that keeps nested indexes.
const supporting = `{"version": 2, "validates": true, "serves": true, "cleansUp": true}`

// TestKeepsReferences: an index is pushed as it is only where the registry says, in words that are understood, that it
// looks for members where they are and that its clean-up does, too. It is asked once.
func TestKeepsReferences(t *testing.T) {
	for statement, want := range map[string]bool{
		"":         false, // 404
		supporting: true,
		`{"cleansUp": true, "validates": true, "version": 2, "more": {"later": []}}`: true,
		`{"version": 2, "validates": true, "serves": true, "cleansUp": false}`:       false,
		`{"version": 2, "validates": false, "serves": true, "cleansUp": true}`:       false,
		`{"version": 2}`: false,
		`{"version": 1, "validates": true, "serves": true, "cleansUp": true}`:   false,
		`{"version": 3, "validates": true, "serves": true, "cleansUp": true}`:   false,
		`{"version": "2", "validates": true, "serves": true, "cleansUp": true}`: false,
		`{"version": 2, "validates": "yes", "serves": true, "cleansUp": true}`:  false,
		`<html>log in</html>`:                    false,
		`null`:                                   false,
		supporting + "}":                         false,
		supporting + strings.Repeat(" ", 64<<10): false,
	} {
		reg := clienttest.NewRegistry(t, registrytest.SupportsChildNamespaces(statement))
		registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
		for _, name := range []string{"org/app", "org/app", "org/app/web"} {
			got, err := registries.KeepsReferences(t.Context(), clienttest.Repository(t, reg.Host()+"/"+name))
			if got != want || err != nil {
				t.Errorf("%.80s: %t %v, want %t", statement, got, err, want)
			}
		}
		if n := reg.Count(); n != 1 {
			t.Errorf("%.80s: %d requests", statement, n)
		}
	}
	for _, status := range []int{http.StatusAccepted, http.StatusNonAuthoritativeInfo, http.StatusPartialContent, http.StatusNotFound} {
		reg := clienttest.NewRegistry(t, registrytest.SupportsChildNamespaces(supporting))
		reg.Intercept(registrytest.Say(status, "application/json", supporting))
		registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
		if keeps, err := registries.KeepsReferences(t.Context(), clienttest.Repository(t, reg.Host()+"/"+parent)); keeps || err != nil {
			t.Errorf("said with status %d: %t, %v", status, keeps, err)
		}
	}
}

// TestKeepsReferencesToken: it is asked with the repository's own token for pushing, together by all who want to know.
func TestKeepsReferencesToken(t *testing.T) {
	reg := clienttest.NewRegistry(t, registrytest.WithTokenAuth(), registrytest.SupportsChildNamespaces(supporting))
	reg.Allow("all", "secret", parent)
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true, Credentials: clienttest.UserPassword(t, reg.Host(), "all", "secret")})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if keeps, err := registries.KeepsReferences(t.Context(), clienttest.Repository(t, reg.Host()+"/"+parent)); !keeps || err != nil {
				t.Error(keeps, err)
			}
		})
	}
	group.Wait()
	asked, tokens := reg.Log(registrytest.Of(registrytest.KindSupport)), reg.Log(registrytest.Of(registrytest.KindToken))
	last := asked[len(asked)-1]
	if want := []string{"repository:" + parent + ":pull,push"}; len(asked) != 2 || last.Status != http.StatusOK || !slices.Equal(last.Scopes, want) || len(tokens) != 1 {
		t.Errorf("%v\n%v", asked, tokens)
	}
}

// TestKeepsReferencesError: that it could not be found out is no answer, and not kept; for a strategy it is no.
func TestKeepsReferencesError(t *testing.T) {
	reg := clienttest.NewRegistry(t, registrytest.WithTokenAuth(), registrytest.SupportsChildNamespaces(supporting))
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true, Credentials: clienttest.UserPassword(t, reg.Host(), "all", "secret")})
	at := clienttest.Repository(t, reg.Host()+"/"+parent)
	if _, err := registries.KeepsReferences(t.Context(), at); err == nil {
		t.Error("no error with a wrong password")
	}
	if keeps, err := nested.KeepsReferences(t.Context(), registries, at); keeps || err != nil {
		t.Error(keeps, err)
	}
	if keeps, err := nested.KeepsReferences(t.Context(), nil, at); keeps || err != nil {
		t.Error(keeps, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nested.KeepsReferences(ended, registries, at); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	reg.Allow("all", "secret", parent)
	if keeps, err := registries.KeepsReferences(t.Context(), at); !keeps || err != nil {
		t.Error(keeps, err)
	}
}

// TestKeepsReferencesIsNotOneCallersAnswer: what is answered to one caller alone says nothing to the others.
func TestKeepsReferencesIsNotOneCallersAnswer(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusBadRequest} {
		reg := clienttest.NewRegistry(t, registrytest.SupportsChildNamespaces(supporting))
		reg.Intercept(registrytest.Answer(status, nil, registrytest.First(1, registrytest.Of(registrytest.KindSupport))))
		registries, at := clienttest.NewClient(t, registry.Options{}), clienttest.Repository(t, reg.Host()+"/org/app")
		for _, want := range []bool{false, true, true} {
			if keeps, err := registries.KeepsReferences(t.Context(), at); keeps != want || err != nil {
				t.Errorf("after %d: %t %v, want %t", status, keeps, err, want)
			}
		}
	}
}
