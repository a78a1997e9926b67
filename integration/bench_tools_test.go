package integration

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nestedoci/nested/integration/bench"
)

// contender is a way to pull a bundle.
type contender struct {
	name  string
	shape bench.Shape
	// prepare makes a pull ready, from nothing: an empty directory or an empty daemon.
	prepare func(t testing.TB, s *scene, at bundleAt) work
}

// tuned is how much others are told to do at once, where they can be told.
const tuned = 64

// nestctlToLayout is ours.
var nestctlToLayout = contender{"nestctl pull", bench.Nested, func(t testing.TB, s *scene, at bundleAt) work {
	return one(s.client(t, "nestctl", "pull", "--quiet", "--hosts-dir", s.hosts(t), "--to", "oci-layout:"+layoutDir(t), at.ref(s)))
}}

// othersDefault pull the same content as a plain index of one repository, as they come.
var othersDefault = []contender{
	{"crane pull", bench.Anchored, func(t testing.TB, s *scene, at bundleAt) work {
		return one(s.client(t, "crane", "pull", "--format=oci", at.ref(s), layoutDir(t)))
	}},
	{"oras cp", bench.Anchored, func(t testing.TB, s *scene, at bundleAt) work {
		return one(s.client(t, "oras", "cp", "--no-tty", "--to-oci-layout", at.ref(s), layoutDir(t)+":v1"))
	}},
	{"regctl image copy", bench.Anchored, func(t testing.TB, s *scene, at bundleAt) work {
		return one(s.regctl(t, 0, at.ref(s), "ocidir://"+layoutDir(t)+":v1"))
	}},
}

// othersTuned are the same, told to do more at once. crane's --jobs is for copies between registries.
var othersTuned = []contender{
	{fmt.Sprintf("oras cp --concurrency %d", tuned), bench.Anchored, func(t testing.TB, s *scene, at bundleAt) work {
		return one(s.client(t, "oras", "cp", "--no-tty", "--concurrency", fmt.Sprint(tuned), "--to-oci-layout", at.ref(s), layoutDir(t)+":v1"))
	}},
	{fmt.Sprintf("regctl, reqConcurrent %d", tuned), bench.Anchored, func(t testing.TB, s *scene, at bundleAt) work {
		return one(s.regctl(t, tuned, at.ref(s), "ocidir://"+layoutDir(t)+":v1"))
	}},
}

// othersEach pull member by member, one after the other into one layout, and all at once into one each.
var othersEach = []contender{
	{"crane pull, all in one", bench.Members, func(t testing.TB, s *scene, at bundleAt) work {
		args := append([]string{"pull", "--format=oci"}, at.refs(s)...)
		return one(s.client(t, "crane", append(args, layoutDir(t))...))
	}},
	{"crane pull, in turn", bench.Members, each(false, func(t testing.TB, s *scene, ref, dir string, _ int) *exec.Cmd {
		return s.client(t, "crane", "pull", "--format=oci", ref, dir)
	})},
	{"crane pull, at once", bench.Members, each(true, func(t testing.TB, s *scene, ref, dir string, _ int) *exec.Cmd {
		return s.client(t, "crane", "pull", "--format=oci", ref, dir)
	})},
	{"oras cp, in turn", bench.Members, each(false, func(t testing.TB, s *scene, ref, dir string, i int) *exec.Cmd {
		return s.client(t, "oras", "cp", "--no-tty", "--to-oci-layout", ref, fmt.Sprintf("%s:m%d", dir, i))
	})},
	{"oras cp, at once", bench.Members, each(true, func(t testing.TB, s *scene, ref, dir string, i int) *exec.Cmd {
		return s.client(t, "oras", "cp", "--no-tty", "--to-oci-layout", ref, fmt.Sprintf("%s:m%d", dir, i))
	})},
	{"regctl image copy, in turn", bench.Members, each(false, func(t testing.TB, s *scene, ref, dir string, i int) *exec.Cmd {
		return s.regctl(t, 0, ref, fmt.Sprintf("ocidir://%s:m%d", dir, i))
	})},
	{"regctl image copy, at once", bench.Members, each(true, func(t testing.TB, s *scene, ref, dir string, i int) *exec.Cmd {
		return s.regctl(t, 0, ref, fmt.Sprintf("ocidir://%s:m%d", dir, i))
	})},
}

// each is a command for each member.
func each(atOnce bool, command func(t testing.TB, s *scene, ref, dir string, i int) *exec.Cmd) func(testing.TB, *scene, bundleAt) work {
	return func(t testing.TB, s *scene, at bundleAt) work {
		w, dir := work{atOnce: atOnce}, layoutDir(t)
		for i, ref := range at.refs(s) {
			if atOnce {
				dir = layoutDir(t)
			}
			w.commands = append(w.commands, command(t, s, ref, dir, i))
		}
		return w
	}
}

func layoutDir(t testing.TB) string { return filepath.Join(t.TempDir(), "layout") }

func (b bundleAt) ref(s *scene) string { return s.ref(b.repository, b.tag) }

// client is a program with the scene's credentials and certificate.
func (s *scene) client(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	needs(t, name)
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = s.env
	return cmd
}

// regctl is told in its configuration how much to do at once; 0 is its default.
func (s *scene) regctl(t testing.TB, atOnce int, from, to string) *exec.Cmd {
	t.Helper()
	cmd := s.client(t, "regctl", "image", "copy", from, to)
	if atOnce > 0 {
		text, err := json.Marshal(map[string]any{"hosts": map[string]any{s.host: map[string]any{"reqConcurrent": atOnce}}})
		must(t, err)
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "REGCTL_CONFIG="+writeFile(t, filepath.Join(t.TempDir(), "config.json"), string(text)))
	}
	return cmd
}

func one(cmd *exec.Cmd) work { return work{commands: []*exec.Cmd{cmd}} }
