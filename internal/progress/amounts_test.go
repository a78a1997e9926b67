package progress

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/bundle"
)

func listed(name, mediaType string, size int64, children ...*bundle.Node) *bundle.Node {
	n := &bundle.Node{Children: children}
	n.Descriptor = ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(name), Size: size}
	return n
}

// TestAmounts: each content counts once, what is there counts as done and not as moved, and the total is known when all
// lists have been read.
func TestAmounts(t *testing.T) {
	a := newAmounts()
	want := func(step string, done, total, moved int64, unread int) {
		t.Helper()
		all, _ := a.now()
		if got := (amount{total, done, moved, unread}); all != got {
			t.Errorf("%s: %+v, want %+v", step, all, got)
		}
	}
	one, two := listed("1", ocispec.MediaTypeImageLayerGzip, 100), listed("2", ocispec.MediaTypeImageLayerGzip, 1000)
	left, right := listed("l", ocispec.MediaTypeImageManifest, 1, one, two), listed("r", ocispec.MediaTypeImageManifest, 2, two)
	root := listed("root", ocispec.MediaTypeImageIndex, 3, left, right)

	a.expand(&bundle.Node{Children: []*bundle.Node{root}})
	want("a root", 0, 3, 0, 1)
	a.end(root)
	a.expand(root)
	a.expand(root)
	want("what it lists", 3, 6, 0, 2)
	a.expand(left)
	want("one of two manifests", 3, 1106, 0, 1)
	right.Missing = true
	a.expand(right)
	want("the other is missing", 5, 1106, 0, 0)

	counter := a.begin(one)
	counter.Read.Add(10)
	counter.Skipped.Store(50)
	want("a layer that begins in the middle", 65, 1106, 10, 0)
	counter.Skipped.Store(-10)
	want("and begins again", 5, 1106, 10, 0)
	again := a.begin(one)
	again.Read.Add(30)
	want("another transfer of it", 35, 1106, 40, 0)
	again.Read.Add(1 << 20)
	want("a server that sends too much", 105, 1106, 1<<20+40, 0)
	a.end(one)
	a.end(one)
	want("its end", 105, 1106, 1<<20+40, 0)
	a.end(two)
	a.end(left)
	want("the end", 1106, 1106, 1<<20+40, 0)

	a.end(listed("unexpected", ocispec.MediaTypeImageLayerGzip, math.MaxInt64))
	a.end(listed("negative", ocispec.MediaTypeImageLayerGzip, math.MinInt64))
	want("sizes of strangers", math.MaxInt64, math.MaxInt64, 1<<20+40, 0)
}

// TestRate: the rate is that of the last seconds, unknown at first, and nothing when nothing moves.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w window
		total := int64(0)
		run := func(d time.Duration, perSecond int64) {
			for range d / interval {
				time.Sleep(interval)
				total += perSecond * int64(interval) / int64(time.Second)
				w.add(total)
			}
		}
		near := func(step string, want float64) {
			t.Helper()
			if got := w.perSecond(); math.Abs(got-want) > want/20 {
				t.Errorf("%s: %.0f a second, want %.0f", step, got, want)
			}
		}
		w.add(0)
		run(900*time.Millisecond, 1e6)
		near("too short to be measured", 0)
		run(3*time.Second, 1e6)
		near("steady", 1e6)
		run(time.Minute, 1e6)
		near("for long", 1e6)
		run(6*time.Second, 1e5)
		near("slower", 1e5)
		run(6*time.Second, 0)
		near("stalled", 0)
		if len(w.samples) > int(windowLength/interval)+2 {
			t.Errorf("%d samples are kept", len(w.samples))
		}
		time.Sleep(time.Hour) // a laptop that was asleep
		run(10*time.Second, 1e6)
		near("after a pause", 1e6)
	})
}

// TestLeft: the time left is shown only when it can be known.
func TestLeft(t *testing.T) {
	for _, test := range []struct {
		a         amount
		perSecond float64
		want      string
	}{
		{amount{total: 100 << 20}, 0, "0 B of 100.0 MiB"},
		{amount{total: 100 << 20, done: 50 << 20}, 10 << 20, "50.0 MiB of 100.0 MiB  10.0 MiB/s  5 s left"},
		{amount{total: 100 << 20, done: 50 << 20, unread: 1}, 10 << 20, "50.0 MiB of at least 100.0 MiB  10.0 MiB/s"},
		{amount{total: 100 << 20, done: 100 << 20}, 10 << 20, "100.0 MiB of 100.0 MiB  10.0 MiB/s"},
		{amount{total: 1 << 30}, 1 << 20, "0 B of 1.0 GiB  1.0 MiB/s  17 min 4 s left"},
		{amount{total: 10 << 30}, 1 << 20, "0 B of 10.0 GiB  1.0 MiB/s  2 h 50 min left"},
		{amount{total: 1000}, 1 << 20, "0 B of 1000 B  1.0 MiB/s  1 s left"},
		{amount{total: math.MaxInt64}, 1, "0 B of 8388608.0 TiB  1 B/s"},
		{amount{total: 10}, 0.5, "0 B of 10 B  20 s left"},
	} {
		if got := describe(test.a, test.perSecond); got != test.want {
			t.Errorf("%+v at %g: %q, want %q", test.a, test.perSecond, got, test.want)
		}
	}
}

// TestViewOfTransfer: members on their way have their own rates, for as long as they are.
func TestViewOfTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Progress{amounts: newAmounts()}
		source := &transfer{progress: p, rates: map[string]*window{}}
		layer := listed("1", ocispec.MediaTypeImageLayerGzip, 10<<20)
		p.amounts.expand(&bundle.Node{Children: []*bundle.Node{layer}})
		counter := p.amounts.begin(layer)
		var v view
		for range 5 {
			v = source.view()
			time.Sleep(time.Second)
			counter.Read.Add(1 << 20)
		}
		if len(v.members) != 1 || v.members[0] != "4.0 MiB of 10.0 MiB  1.0 MiB/s  6 s left" || v.after != " 4.0 MiB of 10.0 MiB  1.0 MiB/s  6 s left" {
			t.Errorf("%+v", v)
		}
		p.amounts.end(layer)
		if v = source.view(); len(v.members) != 0 || len(source.rates) != 1 || v.done != v.total {
			t.Errorf("%+v", v)
		}
	})
}
