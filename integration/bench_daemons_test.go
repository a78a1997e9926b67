package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

// startDaemons starts what the contenders with containerd pull into.
func (s *scene) startDaemons(t testing.TB) {
	t.Helper()
	section := fmt.Sprintf("[plugins.\"io.containerd.internal.v1.nested\"]\ndocker_config = %q\n", s.config)
	s.stock = startContainerd(t)
	s.nested = startDaemon(t, inside, func(string) string { return section }, criPlugins...)
	s.gateway = s.startGateway(t)
	s.waiting = s.startGateway(t, "prefetch = 0")
}

// startGateway makes a gateway that is started for each pull.
func (s *scene) startGateway(t testing.TB, settings ...string) *gatewayProcess {
	t.Helper()
	g := startGateway(t, &app{registry: s.registry}, "node", settings...)
	g.stop(t)
	writeFile(t, filepath.Join(g.docker, "config.json"), readText(t, filepath.Join(s.config, "config.json")))
	return g
}

// nestedToDaemon are ours.
var nestedToDaemon = []contender{
	{"nestctl pull", bench.Nested, func(t testing.TB, s *scene, at bundleAt) work {
		daemon := s.stock.fresh(t)
		args := []string{"pull", "--quiet", "--hosts-dir", s.hosts(t), "--address", daemon.address, "--namespace", daemon.namespace, at.ref(s)}
		return work{commands: []*exec.Cmd{s.client(t, "nestctl", args...)}, daemons: []*process{daemon.program}}
	}},
	{"containerd-nested", bench.Nested, func(t testing.TB, s *scene, at bundleAt) work {
		return s.ctr(t, s.nested, false, []string{"--hosts-dir", s.hosts(t)}, at.ref(s))
	}},
	{"stock containerd, gateway", bench.Nested, func(t testing.TB, s *scene, at bundleAt) work { return s.through(t, s.gateway, at) }},
	{"stock containerd, gateway, prefetch = 0", bench.Nested, func(t testing.TB, s *scene, at bundleAt) work { return s.through(t, s.waiting, at) }},
}

// through pulls with stock containerd through a gateway that has learnt nothing.
func (s *scene) through(t testing.TB, g *gatewayProcess, at bundleAt) work {
	t.Helper()
	if !g.ended() {
		g.stop(t)
	}
	must(t, os.RemoveAll(filepath.Join(g.root, "state")))
	g.boot(t)
	w := s.ctr(t, s.stock, false, []string{"--hosts-dir", g.certsD}, at.ref(s))
	w.daemons = append(w.daemons, g.process)
	return w
}

// stockToDaemon is stock containerd, with the same content as a plain index of one repository.
var stockToDaemon = contender{"stock containerd", bench.Anchored, func(t testing.TB, s *scene, at bundleAt) work {
	return s.ctr(t, s.stock, false, s.asUser(t), at.ref(s))
}}

// eachToDaemon is stock containerd, member by member.
var eachToDaemon = []contender{
	{"stock containerd, in turn", bench.Members, func(t testing.TB, s *scene, at bundleAt) work {
		return s.ctr(t, s.stock, false, s.asUser(t), at.refs(s)...)
	}},
	{"stock containerd, at once", bench.Members, func(t testing.TB, s *scene, at bundleAt) work {
		return s.ctr(t, s.stock, true, s.asUser(t), at.refs(s)...)
	}},
}

// asUser are the flags of ctr for a daemon that has no credentials itself.
func (s *scene) asUser(t testing.TB) []string {
	t.Helper()
	return []string{"--hosts-dir", s.hosts(t), "--user", s.login.username + ":" + s.login.password}
}

// ctr pulls images into an empty daemon.
func (s *scene) ctr(t testing.TB, daemon *containerd, atOnce bool, flags []string, refs ...string) work {
	t.Helper()
	w := work{atOnce: atOnce, daemons: []*process{daemon.fresh(t).program}}
	for _, ref := range refs {
		w.commands = append(w.commands, daemon.command(t, slices.Concat([]string{"image", "pull"}, flags, []string{ref})...))
	}
	return w
}

// fresh empties a daemon's store.
func (c *containerd) fresh(t testing.TB) *containerd {
	t.Helper()
	if images := c.images(t); len(images) > 0 {
		c.ctr(t, append([]string{"images", "rm"}, images...)...)
	}
	await(t, "an empty store", time.Minute, func() bool {
		c.collect(t)
		return len(c.blobs(t)) == 0
	})
	return c
}
