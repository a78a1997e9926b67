package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// doors are daemons to which bundles of one registry come in each way.
type doors struct {
	nestctl, gateway, plugin *containerd
	client                   nestctl
	certsD                   string // with which the gateway is asked
}

// openDoors starts a daemon for each door, each with all credentials of an app.
func openDoors(t *testing.T, a *app) *doors {
	t.Helper()
	return &doors{
		nestctl: startContainerd(t),
		gateway: startContainerd(t),
		plugin:  startInside(t, a.logins),
		client:  newNestctl(t, dockerConfig(t, a.logins, nil)),
		certsD:  startGateway(t, a, "node").certsD,
	}
}

// check pulls by each door, in a namespace of its own, and checks that there is all that belongs to the index and its
// members, the same by each door, and records of the members where the door makes them.
func (d *doors) check(t *testing.T, namespace, ref string, members []string, content []digest.Digest) {
	t.Helper()
	byNestctl, byGateway, byPlugin := d.nestctl.in(namespace), d.gateway.in(namespace), d.plugin.in(namespace)
	d.client.run(t, byNestctl.pull(ref)...)
	byGateway.pullHosts(t, transfer, d.certsD, ref)
	byPlugin.ctr(t, "image", "pull", "--plain-http", ref)
	for door, daemon := range map[string]*containerd{"nestctl": byNestctl, "gateway": byGateway, "plugin": byPlugin} {
		want := []string{ref}
		if daemon != byGateway {
			want = slices.Sorted(slices.Values(append(want, members...)))
		}
		if got := slices.Sorted(slices.Values(daemon.images(t))); !slices.Equal(got, want) {
			t.Errorf("%s: images %q, want %q", door, got, want)
		}
		if bad := daemon.incomplete(t); bad != nil {
			t.Errorf("%s: images check: %q", door, bad)
		}
		got, want := slices.Sorted(slices.Values(daemon.blobs(t))), textsOf(content)
		if !slices.Equal(got, want) {
			t.Errorf("%s: content\n%q, want\n%q", door, got, want)
		}
	}
}

// textsOf are digests without repetitions, as ctr lists them.
func textsOf(digests []digest.Digest) []string {
	texts := map[string]bool{}
	for _, d := range digests {
		texts[d.String()] = true
	}
	return slices.Sorted(maps.Keys(texts))
}

// newDoorsBundle has nothing for other platforms, of which the doors bring different parts.
func newDoorsBundle(t *testing.T) node {
	t.Helper()
	base := baseLayer(t)
	return newBundle(t,
		member{"web", newIndex(t, newImage(t, amd64, "web\n", base))},
		member{"jobs/worker", newImage(t, amd64, "worker\n", base)})
}

// TestDoorsStrategies: however a registry took an index, each door brings the same records and the same content.
func TestDoorsStrategies(t *testing.T) {
	needs(t, "all")
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %t", strict), func(t *testing.T) {
			bundle := newDoorsBundle(t)
			taken := strategies
			if strict {
				taken = strategies[1:]
			}
			a := publishStrategies(t, strict, taken, bundle)
			doors := openDoors(t, a)
			for _, strategy := range taken {
				t.Run(strategy, func(t *testing.T) {
					parent := "org/" + strategy
					args := []string{"index", "create", "--plain-http", "--format", "json", "--strategy", strategy, a.registry.ref(parent, "v1")}
					for _, m := range bundle.members {
						args = append(args, a.registry.ref(parent+"/"+m.namespace, "v1"))
					}
					var made struct {
						Strategy string
						Digest   digest.Digest
					}
					must(t, json.Unmarshal([]byte(doors.client.run(t, args...).stdout), &made))
					if made.Strategy != strategy {
						t.Errorf("made as %s", made.Strategy)
					}
					content := append(digestsOf(bundle)[1:], made.Digest)
					doors.check(t, strategy, a.registry.ref(parent, "v1"), a.memberNames(parent, bundle), content)
					doors.check(t, strategy+"-by-digest", a.registry.ref(parent, made.Digest.String()), a.memberNames(parent, bundle), content)
				})
			}
		})
	}
}

// publishStrategies pushes a bundle's members below org/STRATEGY, each repository with a user of its own.
func publishStrategies(t *testing.T, strict bool, taken []string, bundle node) *app {
	t.Helper()
	var names []string
	for _, strategy := range taken {
		names = append(names, repositories("org/"+strategy, bundle)...)
	}
	reg := registryOptions{serve: (*httptest.Server).Start, strict: strict}.start(t, startTokenServer(t, pushers(names...)))
	a := &app{registry: reg, bundle: bundle, logins: map[string]login{}}
	for _, name := range names {
		a.logins[reg.host+"/"+name] = loginOf(name)
	}
	for _, strategy := range taken {
		for _, m := range bundle.members {
			reg.pushNode(t, "org/"+strategy+"/"+m.namespace, "v1", m.node)
		}
	}
	return a
}

// TestDoorsChain: a member that is a nested index itself came by copy to a registry that insists, where it is a blob of
// its target with a carrier beside it; each door follows it.
func TestDoorsChain(t *testing.T) {
	needs(t, "all")
	base := baseLayer(t)
	inner := newBundle(t, member{"db", newImage(t, amd64, "db\n", base)}, member{"cache", newBundle(t, member{"redis", newImage(t, amd64, "redis\n", base)})})
	src := publish(t, newBundle(t, member{"web", newImage(t, amd64, "web\n", base)}, member{"data", inner}))
	dst := copyTo(t, true, "prod/shop", src.bundle)
	logins := maps.Clone(src.logins)
	maps.Copy(logins, dst.logins)
	if got := newNestctl(t, dockerConfig(t, logins, nil)).copy(t, src.ref, dst.ref); got.Strategy != "carrier" {
		t.Errorf("copied %+v", got)
	}
	data := loginOf("prod/shop/data")
	token, _ := askToken(t, dst.tokens, data.username, data.password, pullScope("prod/shop/data"))
	for kind, want := range map[string]int{"manifests": 404, "blobs": 200} {
		if got := dst.get(t, "/v2/prod/shop/data/"+kind+"/"+inner.desc.Digest.String(), token).status; got != want {
			t.Errorf("the inner index as one of %s: %d, want %d", kind, got, want)
		}
	}
	doors := openDoors(t, dst)
	doors.check(t, "chain", dst.ref, dst.memberNames("prod/shop", src.bundle), digestsOf(src.bundle))
}
