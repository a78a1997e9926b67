package intercept

import (
	"fmt"
	"net/url"
	"sync"
)

// journal is what is known of a command's requests. The zero value is an empty one.
type journal struct {
	asked func(string) // may be nil

	mu    sync.Mutex
	first string
	more  int
}

// saw notes what was asked and answered.
func (j *journal) saw(line string) {
	if j.asked == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked(line)
}

// failed notes what went wrong. The first failure is kept: later ones often follow from it.
func (j *journal) failed(what string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.first != "" {
		j.more++
		return
	}
	j.first = what + ": " + bounded(err.Error())
}

// summary is what went wrong in one line; "" for nothing.
func (j *journal) summary() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch j.more {
	case 0:
		return j.first
	case 1:
		return j.first + " (and one more failure)"
	}
	return fmt.Sprintf("%s (and %d more failures)", j.first, j.more)
}

// shown is a URL without its user and its query, in which secrets travel.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }
