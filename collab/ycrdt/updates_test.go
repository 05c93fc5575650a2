package ycrdt

import (
	"bytes"
	"encoding/base64"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// What yjs's functions give for the same updates.
func TestUpdateFunctions(t *testing.T) {
	var file struct {
		Vectors []struct {
			Case         string   `json:"case"`
			MergeInV1    [][]byte `json:"merge_in_v1"`
			MergeInV2    [][]byte `json:"merge_in_v2"`
			MergeOutV1   []byte   `json:"merge_out_v1"`
			MergeOutV2   []byte   `json:"merge_out_v2"`
			SVFromMerged []byte   `json:"sv_from_merged"`
			FullV1       []byte   `json:"full_v1"`
			FullV2       []byte   `json:"full_v2"`
			SV           []byte   `json:"sv"`
			DiffV1       []byte   `json:"diff_v1"`
			DiffV2       []byte   `json:"diff_v2"`
			DocDiffV1    []byte   `json:"doc_diff_v1"`
			DocDiffV2    []byte   `json:"doc_diff_v2"`
			ConvV1ToV2   []byte   `json:"conv_v1_to_v2"`
			ConvV2ToV1   []byte   `json:"conv_v2_to_v1"`
		} `json:"vectors"`
	}
	readGzip(t, filepath.Join(corpus, "update-utils.json.gz"), &file)
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range file.Vectors {
		t.Run(v.Case, func(t *testing.T) {
			same := func(what string, want []byte) func([]byte, error) {
				return func(got []byte, err error) {
					t.Helper()
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s (%v):\n%x\nyjs has\n%x", what, err, got, want)
					}
				}
			}
			same("merge v1", v.MergeOutV1)(MergeUpdates(v.MergeInV1...))
			same("merge v2", v.MergeOutV2)(MergeUpdatesV2(v.MergeInV2...))
			same("state vector v1", v.SVFromMerged)(StateVectorFromUpdate(v.MergeOutV1))
			same("state vector v2", v.SVFromMerged)(StateVectorFromUpdateV2(v.MergeOutV2))
			same("diff v1", v.DiffV1)(DiffUpdate(v.FullV1, v.SV))
			same("diff v2", v.DiffV2)(DiffUpdateV2(v.FullV2, v.SV))
			same("v1 to v2", v.ConvV1ToV2)(ConvertUpdateV1ToV2(v.FullV1))
			same("v2 to v1", v.ConvV2ToV1)(ConvertUpdateV2ToV1(v.FullV2))
			doc := New(Options{})
			if err := doc.ApplyUpdate(v.FullV1); err != nil {
				t.Fatal(err)
			}
			same("document's diff v1", v.DocDiffV1)(doc.EncodeStateAsUpdate(v.SV))
			same("document's diff v2", v.DocDiffV2)(doc.EncodeStateAsUpdateV2(v.SV))
			meta1, err1 := ParseUpdateMeta(v.MergeOutV1)
			meta2, err2 := ParseUpdateMetaV2(v.MergeOutV2)
			if err1 != nil || err2 != nil || !maps.Equal(meta1.From, meta2.From) || !maps.Equal(meta1.To, meta2.To) {
				t.Errorf("meta is %v (%v) and %v (%v)", meta1, err1, meta2, err2)
			}
		})
	}
}

// Histories with yjs found these; the bytes are its. An update is "v1:" or "v2:" and
// its base64.
func TestFoundByHistories(t *testing.T) {
	for name, c := range map[string]struct {
		updates []string
		keeps   bool // what was deleted
		want    string
	}{
		"what waits, again, and with something in the gap": {[]string{
			"v1:AQMHAkgHAQF9AgoCSAcEAX0FAA==",
			"v1:AQMHAkgHAQF9AgoBSAcDAX0EAA==",
			"v1:AQEHA0gHAgF9AwA=",
			"v1:AQIHAAgBAWEBfQBIBwABfQEA",
		}, false, "AQYHAAgBAWEBfQBIBwABfQFIBwEBfQJIBwIBfQNIBwMBfQRIBwQBfQUA"},
		"what one deletion has joined is a neighbour of the next": {[]string{
			"v1:AQeEuLivDAAoAQNtYXABYQF9wAEoAQNtYXAI0LrQu9GO0YcBeoAAAAAAAAAAJwEDbWFwAWIDBcOcYmVyBwCEuLivDAIEh4S4uK8MAwYEAIS4uK8MBBzDqeaXpeacrOKAqGhlbGxvIPCfh6nwn4eqeCJcKACEuLivDAIBYQF3BjxiPiYiXAA=",
			"v2:AAAGxPDw3hgAAQQAASgDAWIBAQAAAQEBARd4AA==",
			"v1:AQSEuLivDBinhLi4rwwWAwJoMQcAhLi4rwwYBoeEuLivDBkEKAEDbWFwA++9ngF2AgPvvZ59vwEBYn4BhLi4rwwBFgE=",
			"v1:AQSEuLivDBwAAaeEuLivDBgBKACEuLivDB0BYQF3AsOpqIS4uK8MAAF9v38BhLi4rwwDAAEYAxwB",
			"v1:AQOEuLivDCCnhLi4rwwCASgAhLi4rwwgAWIBdwIJASgAhLi4rwwgAWEBdgABhLi4rwwDAhQXAR0C",
		}, false, "AQqEuLivDAAhAQNtYXABYQEoAQNtYXAI0LrQu9GO0YcBeoAAAAAAAAAAIQEDbWFwAWIBABgoAQNtYXAD772eAXYCA++9nn2/AQFifgADqIS4uK8MAAF9v3+nhLi4rwwCASgAhLi4rwwgAWIBdwIJASgAhLi4rwwgAWEBdgABhLi4rwwDAAECGRwD"},
		"a deleted mark is seen before a deleted character": {[]string{
			"v2:AAEABtfS6PsYAwQAAkIIAAkHAQQAKAAnACgXD3htbMOcYmVyAGJtYXBiYQMEQQADQQAHAQAAAgEAAAMDBgECQQABBgB3A++9nnkA",
			"v1:AQ2FqfS9DABHl6n0vQwBAwNESVYHAIWp9L0MAAUAKACFqfS9DAEBYQF7Qz/////////Hhan0vQwAl6n0vQwBAwNESVYHAIWp9L0MAwMBcAcAhan0vQwEAwJoMYeFqfS9DAQFACgAhan0vQwGAWsBfb8BKACFqfS9DAMBYQF3DwDwn4ep8J+HqnjDn+KGkgYBBHRleHQBMQR0cnVlhIWp9L0MCQIiXIaFqfS9DAsBMQRudWxsKACFqfS9DAMBYgF3AWIA",
			"v2:AAMAAwEG19Lo+xgEAwxIDAIEAAVGAMYAhgcEaWJpYkECAAAAAQQGeH2/AX5+AA==",
			"v2:AAMAAwERhdLo+xjX0uj7GADF0uj7GAgIBB4DAURCAFIDBBgAEwgARgCGAEcABwGHAAQAKAHJAIg3LmFycmF5YmJwaDHDn+KGku6AgPCfh6nwn4eqeMOpeHl6YmJrZ3VpZC13aDNwY2QFQQECDUEACwMBAAAEQwBGAAJBAgEMDns/uZmZmZmZmntDP////////353Agpie3/4AAAAAAAAdgB7REsa5Nbi71ACl6n0vQwBAgCFqfS9DAIIAAYB",
		}, false, "AgqXqfS9DAAHAQN4bWwDBcOcYmVyBwCXqfS9DAAGAQCXqfS9DAEBKACXqfS9DAABYgF3A++9nicBA21hcAFiASgAl6n0vQwEAWEBeUaXqfS9DAIBaQR0cnVlxpep9L0MBpep9L0MAgFiAzEyN4aXqfS9DAIBaQRudWxshpep9L0MCAFiBG51bGwZhan0vQwAR5ep9L0MAQMDRElWBwCFqfS9DAAFACgAhan0vQwBAWEBe0M/////////x4Wp9L0MAJep9L0MAQMDRElWBwCFqfS9DAMDAXAHAIWp9L0MBAMCaDGHhan0vQwEBQAoAIWp9L0MBgFrAX2/ASEAhan0vQwDAWEBBgEEdGV4dAExBHRydWWEhan0vQwJAiJchoWp9L0MCwExBG51bGwoAIWp9L0MAwFiAXcBYggBBWFycmF5AXs/uZmZmZmZmkGXqfS9DAIBgZep9L0MAgFHhan0vQwOAwFwBwCFqfS9DBEDAmgxBwCFqfS9DBIGh4Wp9L0MEwYEAIWp9L0MFBfDn+KGku6AgPCfh6nwn4eqeMOpeHl6YigAhan0vQwSAWIBdwIKYigAhan0vQwRAWsBe3/4AAAAAAAAyYWp9L0MEYWp9L0MDgtndWlkLXdoM3BjZHYAqIWp9L0MCAF7REsa5Nbi71ACl6n0vQwBAgGFqfS9DAIIAQ8C"},
		// The second begins within a character of the first, which must not tear it.
		"what waits, and again from the middle of a character": {[]string{
			"v1:AQEHAIQIAAZ48J+YgHkA",
			"v1:AQEHAoQHAQTvv715AA==",
			"v1:AQEIAAQBAXQBYQA=",
		}, false, "AgEIAAQBAXQBYQEHAIQIAAZ48J+YgHkA"},
		// Here it is there before what waits is looked at, and yjs does tear it.
		"what waits, from the middle of a character that the update has": {[]string{
			"v1:AQEHAoQHAQTvv715AA==",
			"v1:AQEHBIQHAwF6AA==",
			"v1:AgEIAAQBAXQBYQEHAIQIAAZ48J+YgHkA",
		}, false, "AgEIAAQBAXQBYQEHAIQIAAl477+977+9eXoA"},
		// The update needs nothing of what waits, in which a peer has collected the text.
		"what waits comes after an update that has all it needs": {[]string{
			"v1:AQEIAIEHAAMBCAEAAw==",
			"v1:AgEIAIQHAAN4eXoBBwAEAQF0AWEA",
		}, true, "AgEIAIQHAAN4eXoBBwAEAQF0AWEBCAEAAw=="},
	} {
		t.Run(name, func(t *testing.T) {
			doc := New(Options{DisableGC: c.keeps})
			for i, u := range c.updates {
				version, text, _ := strings.Cut(u, ":")
				update, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					t.Fatal(err)
				}
				if err := doc.apply(update, version == "v2"); err != nil {
					t.Fatalf("update %d: %v", i, err)
				}
			}
			state, err := doc.EncodeStateAsUpdate(nil)
			if got := base64.StdEncoding.EncodeToString(state); err != nil || got != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
}
