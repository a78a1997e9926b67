package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var content = Content{Levels: 1, Indexes: 1, Members: 20, Blobs: 61, Bytes: 1000, Root: 100}

// TestFloor: what a pull needs at least, counted by hand.
func TestFloor(t *testing.T) {
	over := Speed{RoundTrip: 20 * time.Millisecond, BytesPerSecond: 1000}
	deep := Content{Levels: 3, Indexes: 7, Members: 20, Blobs: 61}
	for _, test := range []struct {
		shape                   Shape
		content                 Content
		trips, requests, tokens int
		bytes                   int64
		wall                    time.Duration
	}{
		{Nested, content, 8, 1 + 21 + 1 + 20 + 61, 21, 1000, 160*time.Millisecond + time.Second},
		{Anchored, content, 7, 1 + 1 + 1 + 20 + 61, 1, 1000, 140*time.Millisecond + time.Second},
		{Members, content, 6, 1 + 20 + 20 + 61, 20, 900, 120*time.Millisecond + 900*time.Millisecond},
		{Nested, deep, 12, 1 + 27 + 7 + 20 + 61, 27, 0, 240 * time.Millisecond},
	} {
		got := test.shape.Floor(test.content, over)
		if got.RoundTrips != test.trips || got.Requests != test.requests || got.Tokens != test.tokens || got.Bytes != test.bytes || got.Wall != test.wall {
			t.Errorf("%s: %+v, want %+v", test.shape, got, test)
		}
	}
}

// TestReport: medians and ratios are in the table, every sample in a line.
func TestReport(t *testing.T) {
	samples := func(walls ...time.Duration) (all []Sample) {
		for _, w := range walls {
			all = append(all, Sample{Wall: w * time.Second, Requests: 104, Peak: 5 << 20})
		}
		return all
	}
	s := Scenario{Name: "layout/members=20", Title: "Title", Content: content, Rows: []Row{
		{Name: "ours", Shape: Nested, Floor: Nested.Floor(content, Speed{RoundTrip: time.Second}), Samples: samples(9, 8, 10)},
		{Name: "theirs, tuned", Shape: Anchored, Floor: Anchored.Floor(content, Speed{}), Samples: samples(18)},
	}}
	var table, lines bytes.Buffer
	s.Table(&table)
	s.Lines(&lines)
	for _, want := range []string{
		"| ours | nested | 9.00 | 8.00, 10.00 | 1.00 | 8.00 | 1.12 | ", "| 5 | 104 | 1.00 |", "| theirs, tuned | one repository | 18.00 | 18.00, 18.00 | 2.00 | 0.00 |  |",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	got := strings.Split(strings.TrimSpace(lines.String()), "\n")
	if len(got) != 4 || !strings.HasPrefix(got[3], "BenchmarkPull/layout/members=20/theirs-tuned-one-repository 1 18000000000 ns/op ") {
		t.Errorf("lines %q", got)
	}
}

// TestGrowth: a series has the points of all tables, the smallest first, and a plot has room for them and for its names.
func TestGrowth(t *testing.T) {
	at := func(title string, seconds float64) Group {
		return Group{Title: title, Bars: []Bar{{Name: "ours", Took: seconds}}}
	}
	groups := []Group{at("Layout: 1,000 members, 20 ms away", 20), at("An index of 1 entries, one of them for 5", 2), at("Layout, 20 ms away", 1)}
	groups[0].Bars = append(groups[0].Bars, Bar{Name: "of one table", Took: 3})
	series, err := Growth(groups, 100)
	if err != nil || len(series) != 1 || !slices.Equal(series[0].Points, []Point{{1, 2}, {100, 1}, {1000, 20}}) {
		t.Fatalf("series %+v, %v", series, err)
	}
	for name, wide := range map[string]int{"ours": 760, "stock containerd, gateway, prefetch = 0": 552 + 7*39} {
		var svg bytes.Buffer
		series[0].Name = name
		Plot{Title: "Title", X: "members", Y: "s", Series: series}.SVG(&svg)
		for _, want := range []string{">Title</text>", ">members</text>", ">" + name + "</text>", `cx="70.0"`, `cx="520.0"`, fmt.Sprintf(`viewBox="0 0 %d 420"`, wide)} {
			if !strings.Contains(svg.String(), want) {
				t.Errorf("no %s in\n%s", want, &svg)
			}
		}
	}
}

// TestReplace: only what is between the markers changes.
func TestReplace(t *testing.T) {
	document := filepath.Join(t.TempDir(), "document.md")
	write := func(text string) {
		if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + begin + "old\n" + end + "after\n")
	if err := Replace(document, "new\n"); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(document)
	if want := "before\n" + begin + "new\n" + end + "after\n"; err != nil || string(data) != want {
		t.Errorf("%q, %v", data, err)
	}
	write("before\n" + end)
	if err := Replace(document, "new\n"); err == nil {
		t.Error("a document without markers was taken")
	}
}

// TestBars: a chart has a bar for each way in a scenario's table but those that pull members alone, and says what that took.
func TestBars(t *testing.T) {
	took := func(name string, shape Shape, seconds float64) Row {
		return Row{name, shape, Floor{Wall: time.Second}, []Sample{{Wall: time.Duration(seconds * float64(time.Second))}}}
	}
	var document bytes.Buffer
	document.WriteString("text\n")
	Scenario{Title: "Before", Rows: []Row{took("no", Nested, 9)}}.Table(&document)
	Scenario{Title: "Here", Rows: []Row{took("ours & all", Nested, 2), took("theirs", Anchored, 4), took("no", Members, 3)}}.Table(&document)
	groups, err := Groups(document.String(), "Here")
	want := []Bar{{"ours & all", true, 2, 1}, {"theirs", false, 4, 1}}
	if err != nil || len(groups) != 1 || !slices.Equal(groups[0].Bars, want) {
		t.Fatalf("%v, %+v, want %+v", err, groups, want)
	}
	var svg bytes.Buffer
	BarsSVG(&svg, groups)
	for _, want := range []string{">ours &amp; all</text>", ">4.00</text>", `class="o" x="280" y="80.0" width="205.0"`, `class="p" x="280" y="106.0" width="410.0"`, `x1="382.5"`} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("no %s in\n%s", want, &svg)
		}
	}
	if _, err := Groups(document.String(), "Elsewhere"); err == nil {
		t.Error("a table that is not there")
	}
}
