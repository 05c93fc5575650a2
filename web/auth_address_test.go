package web

import "testing"

func TestWhose(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"127.0.0.1":            "127.0.0.1",
		"::1":                  "::1",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2::9":      "2001:db8:1:2::/64",
		"fe80::1%eth0":         "fe80::/64",
		"@":                    "@",
	} {
		if got := whose(address); got != want {
			t.Errorf("%s is counted as %s, want %s", address, got, want)
		}
	}
}
