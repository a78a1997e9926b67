package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// maxChallenge bounds the WWW-Authenticate headers of one answer; those of
// registries have some hundred bytes.
const maxChallenge = 16 << 10

// Challenge is what a registry says in WWW-Authenticate: "bearer" with the
// token endpoint to ask, or "basic".
type Challenge struct {
	Scheme  string // lower case
	Realm   string
	Service string
	Scope   string // the scope that the registry would request
	Error   string // invalid_token, insufficient_scope; RFC 6750 section 3.1
}

// learned is the last challenge that was learned, for any number of goroutines.
type learned struct {
	mu        sync.Mutex
	challenge *Challenge
}

// get returns the challenge; nil when there is none.
func (l *learned) get() *Challenge {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.challenge
}

func (l *learned) put(c Challenge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.challenge = &c
}

// drop forgets a challenge, unless another one has taken its place.
func (l *learned) drop(c *Challenge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.challenge != nil && *l.challenge == *c {
		l.challenge = nil
	}
}

// ParseChallenge picks the challenge to answer from the headers of a 401:
// Bearer before Basic; others are ignored. The grammar is that of RFC
// 9110 section 11.6.1: several challenges may share a header.
func ParseChallenge(header http.Header) (Challenge, error) {
	values := header.Values("WWW-Authenticate")
	all := strings.Join(values, ", ")
	if len(all) > maxChallenge {
		return Challenge{}, fmt.Errorf("challenge: longer than %d bytes", maxChallenge)
	}
	challenges, err := parseChallenges(all)
	if err != nil {
		return Challenge{}, fmt.Errorf("challenge %.128q: %w", all, err)
	}
	basic := -1
	for i, c := range challenges {
		switch {
		case c.Scheme == "bearer" && c.Realm == "":
			return Challenge{}, fmt.Errorf("challenge %.128q: no realm", all)
		case c.Scheme == "bearer":
			return c, nil
		case c.Scheme == "basic" && basic < 0:
			basic = i
		}
	}
	if basic < 0 {
		return Challenge{}, fmt.Errorf("challenge %.128q: neither Bearer nor Basic", all)
	}
	return challenges[basic], nil
}

// String writes the challenge as a header that [ParseChallenge] reads back.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString(c.Scheme)
	separator := " "
	for _, p := range [][2]string{{"realm", c.Realm}, {"service", c.Service}, {"scope", c.Scope}, {"error", c.Error}} {
		if p[1] != "" {
			quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p[1])
			fmt.Fprintf(&b, `%s%s="%s"`, separator, p[0], quoted)
			separator = ","
		}
	}
	return b.String()
}

var (
	errQuotes = errors.New("unbalanced quotes")
	errSyntax = errors.New("not a list of challenges")
)

// parseChallenges reads a comma-separated list in which a token followed by
// "=" is a parameter of the challenge before it, and any other token begins
// a new challenge.
func parseChallenges(s string) ([]Challenge, error) {
	var challenges []Challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return challenges, nil
		}
		name, rest := cutToken(s)
		if name == "" {
			return nil, errSyntax
		}
		if value, ok := strings.CutPrefix(strings.TrimLeft(rest, " \t"), "="); ok && len(challenges) > 0 {
			text, after, err := cutValue(strings.TrimLeft(value, " \t"))
			if err != nil {
				return nil, err
			}
			challenges[len(challenges)-1].set(strings.ToLower(name), text)
			s = after
			continue
		}
		challenges = append(challenges, Challenge{Scheme: strings.ToLower(name)})
		s = skipToken68(rest)
	}
}

// set keeps the parameters that matter; of a repeated one the first.
func (c *Challenge) set(name, value string) {
	for field, p := range map[string]*string{"realm": &c.Realm, "service": &c.Service, "scope": &c.Scope, "error": &c.Error} {
		if field == name && *p == "" {
			*p = value
		}
	}
}

// cutToken cuts an RFC 9110 token off.
func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) >= 0) {
		i++
	}
	return s[:i], s[i:]
}

// cutValue cuts a token or a quoted string off.
func cutValue(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i == len(s) {
				return "", "", errQuotes
			}
			fallthrough
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errQuotes
}

// skipToken68 passes over the base64 that follows schemes such as Negotiate:
// what stands up to the next comma, unless it is a parameter.
func skipToken68(s string) string {
	blob := strings.TrimLeft(s, " \t")
	end := strings.IndexByte(blob, ',')
	if end < 0 {
		end = len(blob)
	}
	word := strings.TrimRight(blob[:end], " \t")
	if strings.Contains(word, `"`) || strings.Contains(word, "=") && !strings.HasSuffix(word, "=") {
		return s // a parameter
	}
	return blob[end:]
}
