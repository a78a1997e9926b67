package main

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestLocalPullsDocumented: docs/containerd.md has the settings that the doctor
// looks for, with the same advice.
func TestLocalPullsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/containerd.md")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)\| with this CRI pulls by itself .*?\n\n`).Find(text)
	var got []localPull
	for _, row := range regexp.MustCompile("(?m)^\\| `(.*?)` \\| (.*) \\|$").FindAllSubmatch(table, -1) {
		got = append(got, localPull{setting: string(row[1]), fix: string(row[2])})
	}
	if want := (criImages{}).localPulls(); !slices.Equal(got, want) {
		t.Errorf("docs/containerd.md has\n%+v\nthe doctor\n%+v", got, want)
	}
}
