package progress

import (
	"fmt"
	"time"
)

// A rate is that of the last few seconds: long enough not to jump with each
// layer, short enough to show that a network has become slower. It is not known
// before it is measured for a while.
const (
	windowLength = 5 * time.Second
	measured     = time.Second
)

// window holds how much there was at moments of the last few seconds.
type window struct{ samples []sample }

type sample struct {
	at     time.Time
	amount int64
}

// add adds a moment, and forgets those that are too old, but for the one that the
// window begins with.
func (w *window) add(amount int64) {
	now := time.Now()
	w.samples = append(w.samples, sample{now, amount})
	for len(w.samples) > 2 && now.Sub(w.samples[1].at) >= windowLength {
		w.samples = w.samples[1:]
	}
}

// perSecond is the rate; 0 when it is not known or nothing moves.
func (w *window) perSecond() float64 {
	if len(w.samples) == 0 {
		return 0
	}
	first, last := w.samples[0], w.samples[len(w.samples)-1]
	took := last.at.Sub(first.at)
	if took < measured {
		return 0
	}
	return float64(last.amount-first.amount) / took.Seconds()
}

// maxLeft is the longest time left that says anything.
const maxLeft = 100 * time.Hour

// left is the time that a rest takes at a rate, for people; "" when that cannot
// be known.
func left(rest int64, perSecond float64) string {
	if rest <= 0 || perSecond <= 0 || float64(rest)/perSecond > maxLeft.Seconds() {
		return ""
	}
	d := time.Duration(float64(rest) / perSecond * float64(time.Second)).Round(time.Second)
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min left", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s left", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d s left", max(d, time.Second)/time.Second)
}
