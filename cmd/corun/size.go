package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
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

// keepFor is a time as people write it, 30d or 12h, or forever, which is 0.
type keepFor time.Duration

// minKept is the shortest time for which history can be kept: what is being done now must
// be in it.
const minKept = time.Minute

// UnmarshalText reads one from a flag.
func (k *keepFor) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == "forever" {
		*k = 0
		return nil
	}
	d, err := time.ParseDuration(s)
	if number, ok := strings.CutSuffix(s, "d"); ok {
		var days float64
		days, err = strconv.ParseFloat(number, 64)
		if days *= 24 * float64(time.Hour); err == nil && !(days < math.MaxInt64) {
			err = strconv.ErrRange
		}
		d = time.Duration(days)
	}
	if err != nil || d < minKept {
		return fmt.Errorf("%q is no time to keep history for: write such as 30d or 12h, at least %v, or forever", text, minKept)
	}
	*k = keepFor(d)
	return nil
}
