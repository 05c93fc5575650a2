//go:build race

package ycrdt

// With the race detector slices.Grow allocates what it grows by once more, and all takes
// many times as long.
func init() { raceFactor, hostileStructs = 2, 15_000 }
