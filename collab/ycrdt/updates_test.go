package ycrdt

import (
	"bytes"
	"encoding/base64"
	"maps"
	"path/filepath"
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

// What one deletion has joined stands where the next deletion looks for its
// neighbours: found by histories with yjs, whose bytes these are.
func TestJoinedByOneDeletionAndTheNext(t *testing.T) {
	doc := New(Options{})
	for i, u := range []struct{ v1, v2 string }{
		{v1: "AQeEuLivDAAoAQNtYXABYQF9wAEoAQNtYXAI0LrQu9GO0YcBeoAAAAAAAAAAJwEDbWFwAWIDBcOcYmVyBwCEuLivDAIEh4S4uK8MAwYEAIS4uK8MBBzDqeaXpeacrOKAqGhlbGxvIPCfh6nwn4eqeCJcKACEuLivDAIBYQF3BjxiPiYiXAA="},
		{v2: "AAAGxPDw3hgAAQQAASgDAWIBAQAAAQEBARd4AA=="},
		{v1: "AQSEuLivDBinhLi4rwwWAwJoMQcAhLi4rwwYBoeEuLivDBkEKAEDbWFwA++9ngF2AgPvvZ59vwEBYn4BhLi4rwwBFgE="},
		{v1: "AQSEuLivDBwAAaeEuLivDBgBKACEuLivDB0BYQF3AsOpqIS4uK8MAAF9v38BhLi4rwwDAAEYAxwB"},
		{v1: "AQOEuLivDCCnhLi4rwwCASgAhLi4rwwgAWIBdwIJASgAhLi4rwwgAWEBdgABhLi4rwwDAhQXAR0C"},
	} {
		update, err := base64.StdEncoding.DecodeString(u.v1 + u.v2)
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.apply(update, u.v2 != ""); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
	}
	const want = "AQqEuLivDAAhAQNtYXABYQEoAQNtYXAI0LrQu9GO0YcBeoAAAAAAAAAAIQEDbWFwAWIBABgoAQNtYXAD772eAXYCA++9nn2/AQFifgADqIS4uK8MAAF9v3+nhLi4rwwCASgAhLi4rwwgAWIBdwIJASgAhLi4rwwgAWEBdgABhLi4rwwDAAECGRwD"
	state, err := doc.EncodeStateAsUpdate(nil)
	if got := base64.StdEncoding.EncodeToString(state); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
