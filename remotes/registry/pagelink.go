package registry

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// NextPage returns the query for the next page of a list, to be requested at
// the URL of the first page; false when there is no next page. The links (RFC
// 8288) have to stay on the list: on the requested origin and path, or on those
// that a redirect led to. A link that cannot be read is an error: a list that
// ends too early looks like one without signatures.
func NextPage(resp *http.Response) (url.Values, bool, error) {
	target, ok, err := nextLink(resp.Header.Values("Link"))
	if !ok || err != nil {
		return nil, false, err
	}
	answered := resp.Request.URL
	next, err := answered.Parse(target)
	if err != nil {
		return nil, false, fmt.Errorf("link to the next page %s: not a URL", sanitize.Quote(target))
	}
	if !isSameList(next, answered) && !isSameList(next, firstRequest(resp.Request).URL) {
		return nil, false, fmt.Errorf("%s goes on elsewhere, at %s", answered.Path, sanitize.Quote(next.Host))
	}
	return next.Query(), true, nil
}

// isSameList reports whether two URLs differ only in their queries, or in
// whether the scheme's default port is written out.
func isSameList(a, b *url.URL) bool {
	return auth.SameOrigin(a, b) && a.Path == b.Path && a.User == nil
}

// nextLink returns the target of the first link with the relation "next" in
// Link headers.
func nextLink(headers []string) (target string, ok bool, err error) {
	const blank = " \t,"
	for _, header := range headers {
		for rest := strings.Trim(header, blank); rest != ""; rest = strings.TrimLeft(rest, blank) {
			var relations string
			if target, relations, rest, ok = readLink(rest); !ok {
				return "", false, fmt.Errorf("header Link %s: not of the form <URL>; rel=\"next\"", sanitize.Quote(header))
			}
			for _, relation := range strings.Fields(relations) {
				if strings.EqualFold(relation, "next") {
					return target, true, nil
				}
			}
		}
	}
	return "", false, nil
}

// readLink reads one link with its parameters, of which the first "rel" counts.
func readLink(s string) (target, relations, rest string, ok bool) {
	s, isLink := strings.CutPrefix(s, "<")
	target, rest, ok = strings.Cut(s, ">")
	if !isLink || !ok {
		return "", "", "", false
	}
	for related := false; ; {
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" || rest[0] == ',' {
			return target, relations, rest, true
		}
		parameters, isNext := strings.CutPrefix(rest, ";")
		if !isNext {
			return "", "", "", false
		}
		var name, value string
		if name, value, rest, ok = readParameter(parameters); !ok {
			return "", "", "", false
		}
		if strings.EqualFold(name, "rel") && !related {
			relations, related = value, true
		}
	}
}

// readParameter reads name=value, name="value" or a name alone.
func readParameter(s string) (name, value, rest string, ok bool) {
	end := strings.IndexAny(s, "=;,")
	if end < 0 {
		return strings.TrimSpace(s), "", "", true
	}
	name, rest = strings.TrimSpace(s[:end]), s[end:]
	if rest[0] != '=' {
		return name, "", rest, true
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
		value, rest, ok = readQuoted(quoted)
		return name, value, rest, ok
	}
	if end = strings.IndexAny(rest, ";,"); end < 0 {
		end = len(rest)
	}
	return name, strings.TrimSpace(rest[:end]), rest[end:], true
}

// readQuoted reads a quoted string from behind its first quote.
func readQuoted(s string) (value, rest string, ok bool) {
	var text strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return text.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		text.WriteByte(s[i])
	}
	return "", "", false
}
