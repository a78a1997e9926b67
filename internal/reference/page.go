package reference

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	pipe = regexp.MustCompile(`(?:^|[^\\])\|`)
	span = regexp.MustCompile("`([^`]+)`")
)

// FirstColumn are the code spans in the first column of a page's tables.
func FirstColumn(page string) []string {
	var all []string
	for line := range strings.Lines(page) {
		row, ok := strings.CutPrefix(line, "| ")
		end := pipe.FindStringIndex(row)
		if !ok || end == nil {
			continue
		}
		for _, m := range span.FindAllStringSubmatch(row[:end[0]+1], -1) {
			all = append(all, strings.ReplaceAll(m[1], `\|`, "|"))
		}
	}
	return all
}

// Between replaces what stands between two comments of a page, begin and end.
func Between(page, name, text string) (string, error) {
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	before, rest, found := strings.Cut(page, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("%s: not on the page", name)
	}
	return before + begin + text + end + after, nil
}

// Topic is a part of a page: what packages say whose directory begins so.
type Topic struct{ Dir, Title string }

// ErrorList lists texts by topic; a text that fits several belongs to the one
// with the longest directory.
func ErrorList(head string, topics []Topic, texts []Text) (string, error) {
	by := map[string][]string{}
	for _, t := range texts {
		var at Topic
		for _, topic := range topics {
			if strings.HasPrefix(t.At, topic.Dir) && len(topic.Dir) > len(at.Dir) {
				at = topic
			}
		}
		if at.Dir == "" {
			return "", fmt.Errorf("%s: no topic for it", t.At)
		}
		by[at.Title] = append(by[at.Title], t.Key())
	}
	page := strings.TrimSpace(head) + "\n"
	for _, topic := range topics {
		keys := by[topic.Title]
		if keys == nil {
			continue
		}
		delete(by, topic.Title)
		slices.SortFunc(keys, func(a, b string) int {
			return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
		})
		page += "\n## " + topic.Title + "\n\n"
		for _, key := range slices.Compact(keys) {
			page += "- `" + key + "`\n"
		}
	}
	return page, nil
}
