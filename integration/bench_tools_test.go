package integration

import (
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

// toLayout are the contenders that pull to files: nestctl, and what others can do with members one by one and with the
// same content anchored in one repository.
var toLayout = []contender{
	{"nestctl", bench.Nested, func(t testing.TB, s *scene, at bundleAt) work {
		return s.one(t, "nestctl", "pull", "--quiet", "--to", "oci-layout:"+layoutDir(t), s.ref(at.repository, at.tag))
	}},
	{"oras", bench.Anchored, func(t testing.TB, s *scene, at bundleAt) work {
		return s.one(t, "oras", "cp", "--no-tty", "--to-oci-layout", s.ref(at.repository, at.tag), layoutDir(t)+":v1")
	}},
}

func layoutDir(t testing.TB) string { return filepath.Join(t.TempDir(), "layout") }

// client is a program with the scene's credentials and certificate.
func (s *scene) client(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	needs(t, name)
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = s.env
	return cmd
}

func (s *scene) one(t testing.TB, name string, args ...string) work {
	t.Helper()
	return work{commands: []*exec.Cmd{s.client(t, name, args...)}}
}

// take measures contenders in turn.
func (s *scene) take(t testing.TB, name, title string, at bundleAt, speed bench.Speed, rounds int, contenders []contender) bench.Scenario {
	t.Helper()
	made := bench.Scenario{Name: name, Title: title, Content: at.content, Speed: speed}
	for _, c := range contenders {
		made.Rows = append(made.Rows, bench.Row{Name: c.name, Shape: c.shape, Floor: c.shape.Floor(at.content, speed)})
	}
	s.link.Set(speed)
	defer s.link.Set(bench.Speed{})
	for range rounds {
		for i, c := range contenders {
			row := &made.Rows[i]
			row.Samples = append(row.Samples, s.measure(t, c.prepare(t, s, at)))
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return made
}

func sized(n int) string { return fmt.Sprintf("n%d", n) }
