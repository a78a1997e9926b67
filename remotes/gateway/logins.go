package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/nestedoci/nested/internal/retry"
)

const (
	// freeGuesses is how many wrong passwords in a row cost nothing: clients try more than once what they have stored.
	freeGuesses = 5
	// maxPause bounds the time between two guesses; a client that asks meanwhile waits, or is told when to come again.
	maxPause = 30 * time.Second
	// maxHold bounds how long a request waits for its turn.
	maxHold = 5 * time.Second
	// guessTime is how long failures count after the last one.
	guessTime = 15 * time.Minute
	// maxGuessers bounds what is remembered, a few hundred bytes each.
	maxGuessers = 10_000
)

// login is who shows a credential: a user at an address. Nobody else is slowed
// by that one's failures, not even the same user elsewhere.
type login struct{ address, username string }

// logins slows down those who show wrong credentials. It may be used by any
// number of goroutines.
type logins struct {
	mu       sync.Mutex
	guessers map[login]*guesser
}

// guesser is who has shown wrong credentials.
type guesser struct {
	failed int
	last   time.Time // of the failures
	next   time.Time // when the next request may be passed on
}

// wait waits until a request with a credential may be passed on. The error is of
// type [busyError] when that takes too long.
func (l *logins) wait(ctx context.Context, who login) error {
	if who.username == "" {
		return nil
	}
	pause := l.reserve(who)
	if pause > maxHold {
		return &busyError{pause, "too many wrong passwords for this user from this address"}
	}
	if !retry.Sleep(ctx, pause) {
		return context.Cause(ctx)
	}
	return nil
}

// reserve takes the next turn, and returns how long it is until then.
func (l *logins) reserve(who login) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.guessers[who]
	if g == nil || g.failed < freeGuesses || time.Since(g.last) > guessTime {
		return 0
	}
	wait := max(time.Until(g.next), 0)
	if wait <= maxHold {
		g.next = time.Now().Add(wait + g.pause())
	}
	return wait
}

// pause is the time between two requests.
func (g *guesser) pause() time.Duration {
	return min(time.Second<<min(g.failed-freeGuesses, 10), maxPause)
}

// succeeded forgets the failures of who has shown the right credential.
func (l *logins) succeeded(who login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.guessers, who)
}

// failed notes a wrong credential.
func (l *logins) failed(who login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.guessers[who]
	if g == nil || time.Since(g.last) > guessTime {
		l.makeRoom()
		g = new(guesser)
		l.guessers[who] = g
	}
	g.failed++
	g.last = time.Now()
	if g.failed >= freeGuesses && g.next.Before(g.last.Add(g.pause())) {
		g.next = g.last.Add(g.pause())
	}
}

// makeRoom makes room for one more: of a few it forgets the one that failed
// longest ago. The caller holds the lock.
func (l *logins) makeRoom() {
	if l.guessers == nil {
		l.guessers = map[login]*guesser{}
	}
	if len(l.guessers) < maxGuessers {
		return
	}
	const few = 16
	var oldest login
	seen := 0
	for who, g := range l.guessers { // in an order that differs each time
		if seen == 0 || g.last.Before(l.guessers[oldest].last) {
			oldest = who
		}
		if seen++; seen == few {
			break
		}
	}
	delete(l.guessers, oldest)
}

// busyError says that a request came too early, or with too many others.
type busyError struct {
	wait time.Duration
	why  string
}

func (e *busyError) Error() string {
	return e.why + "; come again in " + e.wait.Round(time.Second).String()
}

// Answer implements [retry.Answered].
func (e *busyError) Answer() (int, time.Duration) { return http.StatusTooManyRequests, e.wait }

// crowds bounds how many requests of one kind are answered at a time. It may be
// used by any number of goroutines.
type crowds struct {
	most int
	mu   sync.Mutex
	at   map[login]*crowd
}

// crowd is the requests of one caller.
type crowd struct {
	places chan struct{}
	here   int // with those that wait
}

// enter waits for a place, which leave gives back. The error is of type
// [busyError] when there is none in time.
func (c *crowds) enter(ctx context.Context, who login) (leave func(), err error) {
	one := c.join(who)
	timer := time.NewTimer(maxHold)
	defer timer.Stop()
	select {
	case one.places <- struct{}{}:
		return func() { <-one.places; c.part(who, one) }, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = &busyError{time.Second, "too many requests at once for this user from this address"}
	}
	c.part(who, one)
	return nil, err
}

func (c *crowds) join(who login) *crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[login]*crowd{}
	}
	one := c.at[who]
	if one == nil {
		one = &crowd{places: make(chan struct{}, c.most)}
		c.at[who] = one
	}
	one.here++
	return one
}

func (c *crowds) part(who login, one *crowd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.here--; one.here == 0 {
		delete(c.at, who)
	}
}
