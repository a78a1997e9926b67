package amount

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// units of bytes: those of the SI, as disks are sold, and those of computers.
var units = map[string]float64{
	"": 1, "B": 1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

var withUnit = regexp.MustCompile(`^([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([a-zA-Z]*)$`)

// ParseBytes reads a number of bytes, such as 4GiB, 4.7GB or 1048576. Units
// that some read as powers of ten and some as powers of two, such as 4G, are
// refused.
func ParseBytes(s string) (int64, error) {
	m := withUnit.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%.40q is not a number of bytes, such as 4GiB or 650MB", s)
	}
	unit, ok := units[m[2]]
	number, err := strconv.ParseFloat(m[1], 64)
	size := number * unit
	if !ok || err != nil || size < 1 || size >= math.MaxInt64 {
		return 0, fmt.Errorf("%.40q is not a number of bytes, such as 4GiB or 650MB", s)
	}
	return int64(size), nil
}
