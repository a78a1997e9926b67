package integration

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"github.com/regclient/regclient/types/ref"
	"oras.land/oras-go/v2"
)

// goCopiers copy a member of a bundle, which they ask for in the repository of that, to the bundle's tag.
var goCopiers = map[string]func(t *testing.T, a *app, own login, transport http.RoundTripper, member digest.Digest){
	"go-containerregistry": func(t *testing.T, a *app, own login, transport http.RoundTripper, member digest.Digest) {
		tag, err := name.NewTag(a.ref, name.Insecure)
		must(t, err)
		index, err := remote.Index(tag.Context().Digest(member.String()), gcrOptions(own, transport)...)
		must(t, err)
		must(t, remote.WriteIndex(tag, index, gcrOptions(own, transport)...))
	},
	"oras-go": func(t *testing.T, a *app, own login, transport http.RoundTripper, member digest.Digest) {
		repository := orasRepository(t, a, own, transport)
		_, err := oras.Copy(t.Context(), repository, member.String(), repository, "v1", oras.DefaultCopyOptions)
		must(t, err)
	},
	"regclient": func(t *testing.T, a *app, own login, transport http.RoundTripper, member digest.Digest) {
		to, err := ref.New(a.ref)
		must(t, err)
		must(t, newRegclient(a, own, transport).ImageCopy(t.Context(), to.SetDigest(member.String()), to))
	},
}

// TestTransportBrings: what clients written in Go do not push, since a member has it, is in the repository to which they push:
// there all of it is pulled without a transport.
func TestTransportBrings(t *testing.T) {
	for name, duplicate := range goCopiers {
		t.Run(name, func(t *testing.T) {
			bundle := newApp(t)
			users := userPerRepository(repositories("org/app", bundle)...)
			for _, u := range users {
				for repository := range u.rights {
					u.rights[repository] = []string{"pull", "push"}
				}
			}
			a := publishAt(t, registryOptions{serve: (*httptest.Server).Start, strict: true}.start(t, startGoTokenServer(t, name, users)), carriedNode(t, bundle))
			own := a.logins[a.host+"/org/app"]
			member := bundle.members[0].node.desc.Digest
			duplicate(t, a, own, following(t, a), member)

			dir := t.TempDir()
			goClients[name](t, a, own, http.DefaultTransport, dir)
			if _, err := os.Stat(blobPath(dir, member)); err != nil {
				t.Error(err)
			}
			checkBlobs(t, dir)
		})
	}
}
