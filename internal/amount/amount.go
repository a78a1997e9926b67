// Package amount formats numbers of things and of bytes for people, and
// adds them (amount.go), and reads them (parse.go).
package amount

import (
	"fmt"
	"math"
)

// Bytes formats a number of bytes.
func Bytes(n int64) string {
	size, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size /= 1024; size < 1024 {
			break
		}
	}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}

// Add adds sizes that strangers have chosen, of which the first is a sum already.
// What is too large for a number, or negative, counts as the largest one.
func Add(sum, n int64) int64 {
	if n < 0 || sum > math.MaxInt64-n {
		return math.MaxInt64
	}
	return sum + n
}

// Count formats a number of things.
func Count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
