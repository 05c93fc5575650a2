package sandbox

import (
	"testing"
	"time"
)

func TestHello(t *testing.T) {
	r := python(t, spec(), 10*time.Second, "print('hello')")
	if r.stdout != "hello\n" || r.exit != (Exit{}) || r.err != nil {
		t.Fatalf("%+v", r)
	}
}
