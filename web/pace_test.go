package web

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// A client brings its burst at once, then no more than its share, and the burst again after a
// rest; messages that are larger than the burst wait for all of themselves.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(syncSocket)
		takes := func(n int) time.Duration {
			began := time.Now()
			c.pace(n)
			return time.Since(began).Round(time.Millisecond)
		}
		if took := takes(intakeAtOnce-1) + takes(1); took != 0 {
			t.Errorf("the burst takes %v", took)
		}
		const second = intakePerSecond
		if took := takes(second/2) + takes(second/4) + takes(second/4); took != time.Second {
			t.Errorf("a second's bytes take %v", took)
		}
		if took := takes(2 * second); took != 2*time.Second {
			t.Errorf("two seconds' bytes in a message take %v", took)
		}
		time.Sleep(time.Minute)
		if took := takes(intakeAtOnce); took != 0 {
			t.Errorf("the burst after a rest takes %v", took)
		}
		for range 1000 { // small ones count as well
			c.pace(second / 1000)
		}
		if took := takes(second / 1000); took == 0 {
			t.Error("many small messages are not held back")
		}
	})
}

func TestUnmask(t *testing.T) {
	mask := [4]byte{1, 20, 130, 255}
	for _, n := range []int{0, 1, 3, 4, 5, 7, 8, 9, 63, 64, 65, 255, 256, 257, 511, 513, 5003} {
		plain := make([]byte, n)
		for i := range plain {
			plain[i] = byte(rand.Uint32())
		}
		masked := bytes.Clone(plain)
		for i := range masked {
			masked[i] ^= mask[i%4]
		}
		if unmask(masked, mask); !bytes.Equal(masked, plain) {
			t.Errorf("%d bytes", n)
		}
	}
}
