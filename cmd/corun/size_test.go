package main

import (
	"testing"
	"time"
)

func TestByteSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "512MiB": 512 << 20, "512 mib": 512 << 20, "2G": 2 << 30, "2gb": 2 << 30, "1.5k": 1536,
	} {
		var b byteSize
		if err := b.UnmarshalText([]byte(text)); err != nil || int64(b) != want {
			t.Errorf("%q: got %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "12XB", "1 2", "99999999T", "NaN", "inf"} {
		var b byteSize
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %d", text, b)
		}
	}
}

func TestKeepFor(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"forever": 0, "30d": 30 * 24 * time.Hour, "1.5d": 36 * time.Hour, "12h": 12 * time.Hour, "1m": time.Minute, " 90m ": 90 * time.Minute,
	} {
		var k keepFor
		if err := k.UnmarshalText([]byte(text)); err != nil || time.Duration(k) != want {
			t.Errorf("%q: got %v, %v", text, time.Duration(k), err)
		}
	}
	for _, text := range []string{"", "0", "d", "-1d", "59s", "30", "month", "NaNd", "infd", "1e9d", "99999999999h"} {
		var k keepFor
		if err := k.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %v", text, time.Duration(k))
		}
	}
}
