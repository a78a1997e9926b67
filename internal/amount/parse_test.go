package amount

import (
	"math"
	"testing"
)

// TestParseBytes: what disks and computers call sizes, and nothing that could mean two.
func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "4096": 4096, "512B": 512, "4GiB": 4 << 30, "4.5 GiB": 9 << 29, "650MB": 650e6, "4.7GB": 4.7e9, "1kB": 1000, "1KB": 1000, "2TiB": 2 << 40, "1TB": 1e12,
		"": 0, "0": 0, "0.1B": 0, "4G": 0, "4g": 0, "4gib": 0, "-4GiB": 0, "GiB": 0, "4GiBGiB": 0, "1e9": 0, "٤GiB": 0, "9999999999TiB": 0, "4GiB\n": 0, "NaN": 0, ".5GiB": 0,
	} {
		if got, err := ParseBytes(s); got != want || err != nil != (want == 0) {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
}

// FuzzParseBytes: any text is refused, or is a number of bytes that reads back as itself.
func FuzzParseBytes(f *testing.F) {
	f.Add("4GiB")
	f.Add("1.5 TB")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseBytes(s)
		if err == nil && (n < 1 || n == math.MaxInt64) {
			t.Errorf("%q: %d", s, n)
		}
	})
}
