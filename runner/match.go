package runner

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"time"

	"corun/store"
)

const (
	// matchWithin bounds how long an expression may be at work on an output. It is linear in
	// both, but 8 MiB of output with the largest expression would be minutes.
	matchWithin = 2 * time.Second
	// runesAtOnce is how many characters it reads between two looks at the clock.
	runesAtOnce = 64
	// exactDigits is up to where a float64 tells all numbers apart.
	exactDigits = 15
	// maxDigits is the longest word that is taken for a number.
	maxDigits = 400
)

// matches tells whether a program printed what a case expects, and if not, why, in words that
// hold nothing of what was expected. It is not for cases with a checker.
func matches(c *store.TestCase, expr *regexp.Regexp, got []byte) (ok bool, why string) {
	want := []byte(c.Expected)
	switch c.Match {
	case store.MatchExact:
		return matchExact(got, want)
	case store.MatchRegex:
		return matchRegex(expr, got, matchWithin)
	case store.MatchNumeric:
		return matchNumeric(got, want, c.Tolerance)
	}
	return matchTrimmed(got, want)
}

func matchExact(got, want []byte) (bool, string) {
	if bytes.Equal(got, want) {
		return true, ""
	}
	if ok, _ := matchTrimmed(got, want); ok {
		return false, "The output differs from what is expected in white space at the ends of lines."
	}
	line := 1
	for i := 0; i < min(len(got), len(want)) && got[i] == want[i]; i++ {
		if got[i] == '\n' {
			line++
		}
	}
	return false, differs("line", line)
}

// matchTrimmed compares line by line, without what is white at their ends, and without empty
// lines at the end.
func matchTrimmed(got, want []byte) (bool, string) {
	const white = " \t\r\n\v\f"
	got, want = bytes.TrimRight(got, white), bytes.TrimRight(want, white)
	for line := 1; ; line++ {
		g, moreGot, inGot := bytes.Cut(got, []byte("\n"))
		w, moreWant, inWant := bytes.Cut(want, []byte("\n"))
		switch {
		case !bytes.Equal(bytes.TrimRight(g, white), bytes.TrimRight(w, white)):
			return false, differs("line", line)
		case inGot != inWant:
			return false, differs("line", line+1)
		case !inGot:
			return true, ""
		}
		got, want = moreGot, moreWant
	}
}

// matchNumeric compares word by word: numbers within a tolerance, absolute or as a part of what
// is expected, all else exactly.
func matchNumeric(got, want []byte, tolerance float64) (bool, string) {
	words, stop := iter.Pull(bytes.FieldsSeq(got))
	defer stop()
	n := 0
	for expected := range bytes.FieldsSeq(want) {
		n++
		word, ok := words()
		if !ok {
			return false, fmt.Sprintf("The output ends after %d words, and more are expected.", n-1)
		}
		if !sameWord(string(word), string(expected), tolerance) {
			return false, differs("word", n)
		}
	}
	if _, more := words(); more {
		return false, fmt.Sprintf("The output goes on after the %d words that are expected.", n)
	}
	return true, ""
}

func sameWord(got, want string, tolerance float64) bool {
	if got == want {
		return true
	}
	if len(got) > maxDigits || len(want) > maxDigits {
		return false
	}
	g, gOK := number(got)
	w, wOK := number(want)
	if !gOK || !wOK {
		return false
	}
	apart := math.Abs(g - w)
	// What is not 0 as a float64 has an exponent that is no work.
	if (len(got) > exactDigits || len(want) > exactDigits) && g != 0 && w != 0 {
		gRat, gOK := new(big.Rat).SetString(got)
		wRat, wOK := new(big.Rat).SetString(want)
		if gOK && wOK {
			apart, _ = gRat.Sub(gRat, wRat).Abs(gRat).Float64()
		}
	}
	return apart <= tolerance || apart <= tolerance*math.Abs(w)
}

// number reads a decimal number that is finite.
func number(word string) (float64, bool) {
	for _, c := range word {
		if (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' && c != 'e' && c != 'E' {
			return 0, false // hexadecimal, NaN and the like are words
		}
	}
	n, err := strconv.ParseFloat(word, 64)
	return n, err == nil
}

// matchRegex tells whether all of an output matches.
func matchRegex(expr *regexp.Regexp, got []byte, within time.Duration) (bool, string) {
	r := &timedRunes{Reader: bytes.NewReader(got), until: time.Now().Add(within)}
	ok := expr.MatchReader(r)
	switch {
	case r.late:
		return false, fmt.Sprintf("It took more than %s to compare the output with the expression.", durationWords(int64(within)))
	case !ok:
		return false, "The output does not match the expression: all of it must."
	}
	return true, ""
}

// timedRunes ends at a certain time: there is no other way to call off a match.
type timedRunes struct {
	*bytes.Reader
	until time.Time
	read  int
	late  bool
}

func (t *timedRunes) ReadRune() (rune, int, error) {
	if t.read++; t.read%runesAtOnce == 0 && time.Now().After(t.until) {
		t.late = true
		return 0, 0, io.EOF
	}
	return t.Reader.ReadRune()
}

func differs(unit string, n int) string {
	return fmt.Sprintf("The output differs from what is expected, first in %s %d.", unit, n)
}
