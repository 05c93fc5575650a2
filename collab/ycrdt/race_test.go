//go:build race

package ycrdt

// With the race detector slices.Grow allocates what it grows by once more.
func init() { raceFactor = 2 }
