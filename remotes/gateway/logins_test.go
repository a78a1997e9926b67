package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nestedoci/nested/remotes/transport/callers"
)

// guess shows a credential, and reports how long that took, or has to wait when it is told to come again.
func guess(t *testing.T, l *logins, address, username string, right bool) (waited time.Duration, refused bool) {
	t.Helper()
	began := time.Now()
	who := l.of(address, callers.Caller{Username: username, Password: fmt.Sprint(right)})
	if err := l.wait(t.Context(), who); err != nil {
		busy, ok := errors.AsType[*busyError](err)
		if !ok {
			t.Fatal(err)
		}
		return busy.wait, true
	}
	if right {
		l.succeeded(who)
	} else {
		l.failed(who)
	}
	return time.Since(began), false
}

// TestGuessesAreSlowed: who shows wrong passwords is slowed down, more and more, as a user at an address; nobody else is, nor
// one whose password was right there before. The right password ends it, and time does.
func TestGuessesAreSlowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLogins()
		at := func(address, username string, right bool, want time.Duration, wantRefused bool) {
			t.Helper()
			if waited, refused := guess(t, l, address, username, right); waited != want || refused != wantRefused {
				t.Errorf("%s at %s: %v, refused: %t; want %v, %t", username, address, waited, refused, want, wantRefused)
			}
		}
		at("a", "carol", true, 0, false)
		for range freeGuesses {
			at("a", "alice", false, 0, false)
			at("a", "carol", false, 0, false)
		}
		at("a", "alice", false, time.Second, false)
		at("a", "alice", false, 2*time.Second, false)
		at("a", "alice", false, 4*time.Second, false)
		at("a", "alice", false, 8*time.Second, true)
		at("a", "alice", true, 8*time.Second, true)
		at("b", "alice", false, 0, false)
		at("a", "bob", false, 0, false)
		at("a", "carol", true, 0, false) // others guess, and cannot lock it out
		time.Sleep(4 * time.Second)
		at("a", "alice", true, 4*time.Second, false)
		for range freeGuesses {
			at("a", "alice", false, 0, false)
		}
		time.Sleep(guessTime + 1)
		at("a", "alice", false, 0, false)
	})
}

// TestSprayingIsSlowed: who tries many users from one address is slowed down, and with it those who have not logged in there.
func TestSprayingIsSlowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLogins()
		guess(t, l, "a", "carol", true)
		began := time.Now()
		for i := range 2 * freeUsers {
			guess(t, l, "a", fmt.Sprint("user", i), false)
		}
		if took := time.Since(began); took < freeUsers*4*time.Second {
			t.Errorf("%d users were tried in %v", 2*freeUsers, took)
		}
		if waited, refused := guess(t, l, "a", "dave", true); waited > maxHold || refused {
			t.Errorf("a new user waits for %v, refused: %t", waited, refused)
		}
		for _, who := range [][2]string{{"a", "carol"}, {"a", "dave"}, {"b", "erin"}} {
			if waited, refused := guess(t, l, who[0], who[1], true); waited != 0 || refused {
				t.Errorf("%s waits for %v, refused: %t", who, waited, refused)
			}
		}
	})
}

// TestGuessersAreBounded: what is remembered of guesses does not grow with their number, nor with what they show.
func TestGuessersAreBounded(t *testing.T) {
	t.Parallel()
	l := newLogins()
	for i := range 2 * maxGuessers {
		l.failed(l.of(fmt.Sprint(i), callers.Caller{Username: strings.Repeat("x", 30<<10), Password: "x"}))
	}
	if n := len(l.guessers); n > maxGuessers {
		t.Errorf("%d are remembered", n)
	}
}

// TestAddressOfClients: X-Forwarded-For is believed as far as proxies wrote it.
func TestAddressOfClients(t *testing.T) {
	t.Parallel()
	f := &Front{options: FrontOptions{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}}
	for _, test := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "198.51.100.1", "192.0.2.1"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "203.0.113.9, 198.51.100.1,10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:1", "198.51.100.1:4711", "198.51.100.1"},
		{"10.0.0.1:1", "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"},
		{"10.0.0.1:1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{"10.0.0.1:1", "::ffff:198.51.100.1", "198.51.100.1"},
		{"[fd00::1]:1", "198.51.100.1", "198.51.100.1"},
		{"[::ffff:10.0.0.1]:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "unknown", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1, unknown", "10.0.0.1"},
		{"10.0.0.1:1", ",,,", "10.0.0.1"},
		{"10.0.0.1:1", "10.0.0.2", "10.0.0.2"},
		{"@", "198.51.100.1", "@"},
	} {
		header := http.Header{}
		if test.forwarded != "" {
			header.Set("X-Forwarded-For", test.forwarded)
		}
		if got := f.address(&http.Request{RemoteAddr: test.remote, Header: header}); got != test.want {
			t.Errorf("%s, %q: %s, want %s", test.remote, test.forwarded, got, test.want)
		}
	}
}
