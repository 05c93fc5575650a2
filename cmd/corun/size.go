package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a number of bytes as people write it: 512MiB, 2G, 1048576.
type byteSize int64

// units are powers of 1024, whichever way they are written.
var units = map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

// UnmarshalText reads one from a flag.
func (b *byteSize) UnmarshalText(text []byte) error {
	s := strings.ToUpper(strings.TrimSpace(string(text)))
	digits := strings.TrimRight(s, "KMGTIB ")
	unit, ok := units[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(s[len(digits):]), "B"), "I")]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !ok || !(n >= 0) || n*float64(unit) >= math.MaxInt64 {
		return fmt.Errorf("%q is no size: write a number of bytes, or such as 512MiB or 2GiB", text)
	}
	*b = byteSize(n * float64(unit))
	return nil
}
