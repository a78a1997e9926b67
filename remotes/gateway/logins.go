package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

const (
	// freeGuesses is how many wrong passwords in a row cost nothing: clients try more than once what they have stored.
	freeGuesses = 5
	// freeUsers is for how many users of one address they cost nothing: many clients have one address behind NAT.
	freeUsers = 20
	// maxPause bounds the time between two guesses; a client that asks meanwhile waits, or is told when to come again.
	maxPause = 30 * time.Second
	// maxHold bounds how long a request waits for its turn.
	maxHold = 5 * time.Second
	// guessTime is how long failures count after the last one.
	guessTime = 15 * time.Minute
	// knownTime is how long a credential that was right is not slowed down by others.
	knownTime = 12 * time.Hour
	// maxGuessers bounds what is remembered, a few hundred bytes each.
	maxGuessers = 10_000
)

// place is where requests come from: a user at an address, or all of its users.
// The user is a hash: names are as long as their clients like.
type place struct {
	address string
	user    [sha256.Size]byte
}

// login is a credential that is shown at a place, as a hash under a key of the
// process.
type login struct {
	place
	known      bool // it is not nobody's
	credential [sha256.Size]byte
}

// logins slows down those who show wrong credentials: a user at an address, and,
// when many users fail there, all whose credential was not right there before.
// Nobody is slowed by what others do elsewhere. It may be used by any number of
// goroutines; [newLogins] makes it.
type logins struct {
	macs  sync.Pool // of hash.Hash, with the key
	right flight.Map[login, bool]

	mu       sync.Mutex
	guessers map[place]*guesser // of users at addresses, and of addresses
}

func newLogins() *logins {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &logins{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}, guessers: map[place]*guesser{}}
}

// of is the login with a credential at an address.
func (l *logins) of(address string, c callers.Caller) login {
	who := login{place: place{address: address}, known: c != callers.Caller{}}
	keyed := l.macs.Get().(hash.Hash)
	defer l.macs.Put(keyed)
	keyed.Reset()
	_, _ = io.WriteString(keyed, c.Username) // a hash takes all
	keyed.Sum(who.user[:0])
	keyed.Reset()
	_, _ = io.WriteString(keyed, string(who.user[:])+c.Password)
	keyed.Sum(who.credential[:0])
	return who
}

// all is all users of an address.
func (p place) all() place { return place{address: p.address} }

// guesser is a place where wrong credentials are shown.
type guesser struct {
	free   int
	failed int       // in a row; of an address: how many of its users
	last   time.Time // of the failures
	next   time.Time // when the next request may be passed on
}

// wait waits until a request with a credential may be passed on. The error is of
// type [busyError] when that takes too long.
func (l *logins) wait(ctx context.Context, who login) error {
	if _, right := l.right.Get(who); right || !who.known {
		return nil
	}
	pause := l.reserve(who)
	if pause > maxHold {
		return &busyError{pause, "too many wrong passwords for this user, or of many users, from this address"}
	}
	if pause > 0 && !retry.Sleep(ctx, pause) {
		return context.Cause(ctx)
	}
	return nil
}

// reserve takes the next turn, and returns how long it is until then.
func (l *logins) reserve(who login) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slowed := slices.DeleteFunc([]*guesser{l.guessers[who.place], l.guessers[who.all()]}, func(g *guesser) bool {
		return g == nil || g.failed < g.free || time.Since(g.last) > guessTime
	})
	for _, g := range slowed {
		wait = max(wait, time.Until(g.next))
	}
	for _, g := range slowed {
		if wait <= maxHold {
			g.next = time.Now().Add(wait + g.pause())
		}
	}
	return wait
}

// pause is the time between two requests. At an address, whose users may have
// nothing to do with each other, everybody gets a turn.
func (g *guesser) pause() time.Duration {
	most := maxPause
	if g.free == freeUsers {
		most = maxHold
	}
	return min(time.Second<<min(g.failed-g.free, 10), most)
}

// succeeded forgets the failures of who has shown the right credential.
func (l *logins) succeeded(who login) {
	l.right.Put(who, true, knownTime)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.guessers, who.place)
}

// failed notes a wrong credential.
func (l *logins) failed(who login) {
	l.right.Delete(who)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.note(who.place, freeGuesses) {
		l.note(who.all(), freeUsers)
	}
}

// note notes a failure, and reports whether it is the first one. The caller holds
// the lock.
func (l *logins) note(at place, free int) (first bool) {
	g := l.guessers[at]
	if first = g == nil || time.Since(g.last) > guessTime; first {
		l.makeRoom()
		g = &guesser{free: free}
		l.guessers[at] = g
	}
	g.failed++
	g.last = time.Now()
	if g.failed >= free && g.next.Before(g.last.Add(g.pause())) {
		g.next = g.last.Add(g.pause())
	}
	return first
}

// makeRoom makes room for one more: of a few it forgets the one that failed
// longest ago. The caller holds the lock.
func (l *logins) makeRoom() {
	if len(l.guessers) < maxGuessers {
		return
	}
	const few = 16
	var oldest place
	seen := 0
	for at, g := range l.guessers { // in an order that differs each time
		if seen == 0 || g.last.Before(l.guessers[oldest].last) {
			oldest = at
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
	at   map[place]*crowd
}

// crowd is the requests of one caller.
type crowd struct {
	places chan struct{}
	here   int // with those that wait
}

// enter waits for a place, which leave gives back. The error is of type
// [busyError] when there is none in time.
func (c *crowds) enter(ctx context.Context, who place) (leave func(), err error) {
	one := c.join(who)
	leave = func() { <-one.places; c.part(who, one) }
	select {
	case one.places <- struct{}{}:
		return leave, nil
	default: // nobody needs a timer but who waits
	}
	timer := time.NewTimer(maxHold)
	defer timer.Stop()
	select {
	case one.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = &busyError{time.Second, "too many requests at once for this user from this address"}
	}
	c.part(who, one)
	return nil, err
}

func (c *crowds) join(who place) *crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[place]*crowd{}
	}
	one := c.at[who]
	if one == nil {
		one = &crowd{places: make(chan struct{}, c.most)}
		c.at[who] = one
	}
	one.here++
	return one
}

func (c *crowds) part(who place, one *crowd) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.here--; one.here == 0 {
		delete(c.at, who)
	}
}
