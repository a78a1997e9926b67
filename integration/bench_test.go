package integration

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

var (
	only_     = flag.String("scenarios", ".", "scenarios to measure, a regular expression")
	roundsOf_ = flag.Int("rounds", 0, "rounds, instead of each scenario's own number")
)

// take measures contenders in turn.
func (s *scene) take(t testing.TB, name, title string, at bundleAt, speed bench.Speed, rounds int, contenders []contender) (bench.Scenario, bool) {
	t.Helper()
	made := bench.Scenario{Name: name, Title: title, Content: at.content, Speed: speed}
	if !regexp.MustCompile(*only_).MatchString(name) {
		return made, false
	}
	if *roundsOf_ > 0 {
		rounds = *roundsOf_
	}
	for _, c := range contenders {
		made.Rows = append(made.Rows, bench.Row{Name: c.name, Shape: c.shape, Floor: c.shape.Floor(at.content, speed)})
	}
	s.link.Set(speed)
	defer s.link.Set(bench.Speed{})
	for range rounds {
		for i, c := range contenders {
			row := &made.Rows[i]
			row.Samples = append(row.Samples, s.measure(t, c.prepare(t, s, at)))
			if t.Failed() {
				t.Fatalf("%s: %s", name, c.name)
			}
		}
	}
	return made, true
}

func sized(n int) string { return fmt.Sprintf("n%d", n) }

// BenchmarkPulls measures pulls of bundles side by side; see docs/performance.md.
func BenchmarkPulls(b *testing.B) {
	s := startScene(b)
	members := fleet(b, 20, newLayer(b, "shared", []byte("shared")), 1<<10)
	s.pushFleet(b, "org/app", members)
	at := s.pushBundle(b, "org/app", sized(20), newBundle(b, members...))
	s.startDaemons(b)
	for b.Loop() {
		for _, c := range []struct {
			name string
			who  []contender
		}{
			{"layout", slices.Concat([]contender{nestctlToLayout}, othersDefault, othersTuned, othersEach)},
			{"containerd", slices.Concat(nestedToDaemon, []contender{stockToDaemon}, eachToDaemon)},
		} {
			got, ok := s.take(b, c.name+"/members=20/rtt=20ms", "20 members, 20 ms away", at, bench.Speed{RoundTrip: 20 * time.Millisecond}, 3, c.who)
			if ok {
				got.Table(os.Stdout)
			}
		}
	}
}
