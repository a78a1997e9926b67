package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

// scenario is what is to be measured.
type scenario struct {
	name    string // "kind/key=value"; with it -scenarios chooses
	title   string
	content func(testing.TB) bundleAt
	speed   bench.Speed
	rounds  int
	who     []contender
	quick   bool
}

const (
	usual   = 20 // members
	gigabit = 1e9 / 8
)

var usualSpeed = bench.Speed{RoundTrip: 20 * time.Millisecond}

// scenarios are all there are.
func (s *stage) scenarios() []scenario {
	layout := slices.Concat([]contender{nestctlToLayout}, othersDefault, othersTuned)
	daemons := slices.Concat(nestedToDaemon, []contender{stockToDaemon})
	all := []scenario{
		{"layout/members=20", "Into a layout, 20 ms away", s.smallBundle(usual), usualSpeed, 5, slices.Concat(layout, othersEach), false},
		{"containerd/members=20", "Into containerd, 20 ms away", s.smallBundle(usual), usualSpeed, 5, slices.Concat(daemons, eachToDaemon), false},
		{"quick/layout", "Into a layout, 20 ms away", s.smallBundle(usual), usualSpeed, 3, layout, true},
		{"quick/containerd", "Into containerd, 20 ms away", s.smallBundle(usual), usualSpeed, 3, daemons, true},
	}
	for _, ms := range []time.Duration{0, 5, 80} {
		speed := bench.Speed{RoundTrip: ms * time.Millisecond}
		all = append(all,
			scenario{fmt.Sprintf("away/rtt=%dms", ms), fmt.Sprintf("Into a layout, %d ms away", ms), s.smallBundle(usual), speed, 3, layout, false},
			scenario{fmt.Sprintf("away-containerd/rtt=%dms", ms), fmt.Sprintf("Into containerd, %d ms away", ms), s.smallBundle(usual), speed, 3, daemons, false})
	}
	for _, n := range []int{1, 5, 100} {
		all = append(all,
			scenario{fmt.Sprintf("layout/members=%d", n), fmt.Sprintf("Into a layout: %d members, 20 ms away", n), s.smallBundle(n), usualSpeed, 3, layout, false},
			scenario{fmt.Sprintf("containerd/members=%d", n), fmt.Sprintf("Into containerd: %d members, 20 ms away", n), s.smallBundle(n), usualSpeed, 3, daemons, false})
	}
	for _, perSecond := range []int64{gigabit, gigabit / 10} {
		speed := bench.Speed{RoundTrip: 20 * time.Millisecond, BytesPerSecond: perSecond}
		mbit := perSecond * 8 / 1e6
		all = append(all,
			scenario{fmt.Sprintf("large/mbit=%d", mbit), fmt.Sprintf("Into a layout: large layers over %d Mbit/s, 20 ms away", mbit), s.largeBundle(), speed, 2, slices.Concat([]contender{nestctlToLayout}, othersDefault), false},
			scenario{fmt.Sprintf("large-containerd/mbit=%d", mbit), fmt.Sprintf("Into containerd: large layers over %d Mbit/s, 20 ms away", mbit), s.largeBundle(), speed, 2, daemons, false})
	}
	for _, n := range []int{10, 100, 1000, 10_000} {
		all = append(all, scenario{fmt.Sprintf("entries/entries=%d", n), fmt.Sprintf("An index of %d entries, one of them for this platform", n), s.wideIndex(n), bench.Speed{}, 5, []contender{nestctlToLayout}, false})
	}
	return append(all,
		scenario{"deep/levels=3", "Into a layout: three levels, 20 ms away", s.deepBundle(), usualSpeed, 3, slices.Concat([]contender{nestctlToLayout}, othersDefault), false},
		scenario{"deep-containerd/levels=3", "Into containerd: three levels, 20 ms away", s.deepBundle(), usualSpeed, 3, daemons, false},
		scenario{"layout/members=1000", "Into a layout: 1,000 members, 20 ms away", s.smallBundle(1000), usualSpeed, 2, slices.DeleteFunc(slices.Clone(layout), isCrane), false},
		scenario{"containerd/members=1000", "Into containerd: 1,000 members, 20 ms away", s.smallBundle(1000), usualSpeed, 1, nestedToDaemon[:1], false})
}

// isCrane tells which contender would take two minutes for 1,000 members: it asks for one part after the other.
func isCrane(c contender) bool { return c.name == "crane pull" }

// plots are the diagrams of growth, by the names of their files, each with the titles of its tables.
var plots = map[string]struct {
	titles string
	bench.Plot
}{
	"layout":     {`Into a layout(: [0-9,]+ members)?, 20 ms away`, bench.Plot{Title: "Into a layout, 20 ms away", X: "members", Y: "s"}},
	"containerd": {`Into containerd(: [0-9,]+ members)?, 20 ms away`, bench.Plot{Title: "Into containerd, 20 ms away", X: "members", Y: "s"}},
	"entries":    {`An index of [0-9,]+ entries, .*`, bench.Plot{Title: "An index of which one entry is for this platform", X: "entries of the index", Y: "s"}},
}
