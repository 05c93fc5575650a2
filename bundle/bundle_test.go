package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"corun/collab"
	"corun/collab/ycrdt"
	"corun/store"
)

const roomID0 = "0123456789abcdefghjkmnpqrs"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "corun.db"), store.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	return st
}

// furnish makes a room with everything, and with n updates. Its history is as long as it was,
// or was folded up to a third.
func furnish(t testing.TB, st *store.Store, n int64, folded bool) {
	t.Helper()
	ctx := t.Context()
	_, hash := store.NewToken()
	first, err := collab.InitialDocument(collab.Initial{
		Title: "<Maths> & ä", Language: "python", Entry: "main",
		Files: []collab.File{{ID: "main", Path: "main.py", Content: "print('ä')\n"}, {ID: "fx", Path: "sub/x.txt"}},
	})
	must(t, err)
	_, err = st.CreateRoom(ctx, store.NewRoom{
		ID: roomID0, Title: "<Maths> & ä", Language: "python", TokenHashes: map[store.Role][32]byte{store.RoleHost: hash}, InitialUpdate: first,
	})
	must(t, err)
	yes := true
	_, err = st.UpdateRoom(ctx, roomID0, store.RoomPatch{Locked: &yes, DriverOnly: &yes})
	must(t, err)
	doc := ycrdt.New(ycrdt.Options{})
	must(t, doc.ApplyUpdate(first))
	for seq := int64(2); seq <= n; seq++ {
		update, err := doc.Transact(func(tx *ycrdt.Txn) error {
			if seq == n/2 { // a file that no folder can hold
				return tx.Map("files").Set("bad", ycrdt.Object{{Key: "path", Value: "../../etc/passwd"}})
			}
			return tx.Text("file/main").Insert(int(seq)%10, fmt.Sprint("w", seq))
		})
		must(t, err)
		done := make(chan error, 1)
		st.Updates().Append(store.Update{Room: roomID0, Seq: seq, Author: "guest <a>", Data: update}, func(err error) {
			if seq == n || seq == n/3 {
				done <- err
			}
		})
		if seq == n || seq == n/3 {
			must(t, <-done)
		}
		if seq == n/3 && folded {
			old, err := st.OldUpdates(ctx, roomID0, time.Now(), 0)
			must(t, err)
			state, err := doc.EncodeStateAsUpdate(nil)
			must(t, err)
			must(t, st.Fold(ctx, old, state))
		}
	}
	code := 3
	for i, status := range []store.Status{store.StatusExited, store.StatusCompileFailed, store.StatusLost} {
		at := time.Now().UTC()
		run := &store.Run{
			Room: roomID0, Language: "python", Entry: "main.py", Args: []string{"a", "<b>"}, Mode: "pipes", State: store.RunFinished, Status: status,
			ExitCode: &code, CreatedAt: at, StartedAt: &at, DocSeq: n/3 + int64(i), StateVector: doc.StateVector(),
		}
		if i == 0 {
			run.Artefacts = []store.ArtefactInfo{{Path: `plots/a%5C\b.png`, Size: 3}, {Path: "empty", Size: 0}}
		}
		must(t, st.CreateRun(ctx, run))
	}
	printed := time.UnixMicro(1700000000000000)
	_, err = st.AppendOutput(ctx, roomID0, 1, 0, []store.Chunk{
		{Stream: store.Stdout, At: printed, Data: []byte("one\n")}, {Stream: store.Stdout, At: printed, Data: []byte("two\n")}, {Stream: store.Stderr, At: time.UnixMicro(1700000000000001), Data: []byte("\xff\x00e")},
		{Stream: store.Stdout, At: printed, Data: bytes.Repeat([]byte("x"), 2*outputPiece+1)},
	})
	must(t, err)
	must(t, st.AddArtefacts(ctx, roomID0, 1, []store.Artefact{{Path: `plots/a%5C\b.png`, Data: []byte("png")}, {Path: "empty"}}))
	tested := &store.Run{
		Room: roomID0, Language: "python", Args: []string{}, Mode: "tests", State: store.RunFinished, Status: store.StatusExited, CreatedAt: printed,
		Tests: &store.TestSummary{Total: 2, Done: 2, Passed: 1, Failed: 1, Points: 1, MaxPoints: 3},
	}
	must(t, st.CreateRun(ctx, tested))
	must(t, st.AddTestResult(ctx, tested, &store.TestResult{ID: "a", Name: "<A>", Hidden: true, Passed: true, Points: 1, MaxPoints: 1, Verdict: store.VerdictPassed, ExitCode: &code, Stdout: "a\x00ä"}))
	must(t, st.AddTestResult(ctx, tested, &store.TestResult{ID: "gone", MaxPoints: 2, Verdict: store.VerdictWrongOutput, Message: "m"}))
	must(t, st.SetTests(ctx, roomID0, []store.TestCase{
		{ID: "a", Name: "<A>", Hidden: true, Points: 1, Stdin: "x\n", Args: []string{"y"}, Match: store.MatchRegex, Expected: "x+", Limits: &store.CaseLimits{WallMS: 5}},
		{ID: "c", Name: "C", Args: []string{}, Match: store.MatchChecker, Checker: &store.Checker{Language: "bash", Source: "exit 0"}},
	}))
	must(t, st.CreateRun(ctx, &store.Run{Room: roomID0, State: store.RunRunning, CreatedAt: time.Now(), DocSeq: n / 2})) // goes on
	var events []store.Event
	for i := range n - 500 {
		events = append(events, store.Event{RoomID: roomID0, At: time.Now(), Kind: "join", Data: json.RawMessage(fmt.Sprintf(`{"participant":{"id":"p%d","name":"<A>"}}`, i))})
	}
	must(t, st.AppendEvents(ctx, events))
}

func export(t testing.TB, st *store.Store, id string) []byte {
	t.Helper()
	var out bytes.Buffer
	must(t, Write(t.Context(), st, id, &out))
	return out.Bytes()
}

// contents unpacks an archive.
func contents(t testing.TB, data []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	all := make(map[string]string)
	for _, f := range archive.File {
		r, err := f.Open()
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		all[f.Name] = string(content)
	}
	return all
}

func take(data []byte, max int64) (*Bundle, error) {
	return Open(bytes.NewReader(data), int64(len(data)), max)
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Errorf("there are %q\nwant %q", a, b)
	}
	for name, content := range want {
		if got[name] != content {
			t.Errorf("%s is %.300q\nwant %.300q", name, got[name], content)
		}
	}
}

// A room that is exported, imported and exported again is the same.
func TestRoundTrip(t *testing.T) {
	for _, folded := range []bool{false, true} {
		t.Run(fmt.Sprint("folded ", folded), func(t *testing.T) {
			from, to := open(t), open(t)
			furnish(t, from, 3000, folded)
			data := export(t, from, roomID0)
			want := contents(t, data)
			for _, name := range []string{manifestName, documentName, updatesName, eventsName, "files/main.py", "files/sub/x.txt", "runs/1/run.json",
				"runs/1/output.txt", "runs/1/output.index", "runs/1/artefacts/plots/a%255C%5Cb.png", "runs/1/artefacts/empty", "runs/3/run.json", "runs/4/tests.jsonl", testsName} {
				if _, ok := want[name]; !ok {
					t.Errorf("there is no %s", name)
				}
			}
			if _, ok := want[baseName]; ok != folded {
				t.Errorf("a base: %v", ok)
			}
			if !strings.HasPrefix(want["files/main.py"], "w3000") || !strings.Contains(want[manifestName], `"files_left_out": 1`) {
				t.Errorf("%.100q, %s", want["files/main.py"], want[manifestName])
			}
			if want["runs/1/output.index"] != fmt.Sprintf("stdout 8 1700000000000000\nstderr 3 1700000000000001\nstdout %d 1700000000000000\n", 2*outputPiece+1) || !strings.HasPrefix(want["runs/1/output.txt"], "one\ntwo\n\xff\x00exxx") {
				t.Errorf("%q of %.50q", want["runs/1/output.index"], want["runs/1/output.txt"])
			}
			if _, ok := want["runs/5/run.json"]; ok {
				t.Error("a run that goes on is in it")
			}
			b, err := take(data, 1<<30)
			must(t, err)
			if b.ID != roomID0 || b.Title != "<Maths> & ä" || b.Language != "python" {
				t.Errorf("%+v", b)
			}
			other := store.NewRoomID()
			for _, id := range []string{roomID0, other} {
				token, hash := store.NewToken()
				must(t, b.Store(t.Context(), to, id, map[store.Role][32]byte{store.RoleGuest: hash}))
				if grant, err := to.GrantByToken(t.Context(), id, store.HashToken(token)); err != nil || grant.Role != store.RoleGuest {
					t.Errorf("%+v, %v", grant, err)
				}
				again := contents(t, export(t, to, id))
				for name := range again {
					again[name] = strings.ReplaceAll(again[name], id, roomID0)
				}
				same(t, again, want)
				if err := b.Store(t.Context(), to, id, nil); !errors.Is(err, store.ErrExists) {
					t.Errorf("imported twice: %v", err)
				}
			}
			// It is a room as any other.
			hub := collab.NewHub(to, collab.HubOptions{})
			defer func() { must(t, hub.Close(t.Context())) }()
			room, err := hub.Acquire(t.Context(), other)
			must(t, err)
			defer room.Release()
			files, _, seq, err := room.Files(t.Context())
			if err != nil || seq != 3000 || len(files) != 3 || files[1].Content != want["files/main.py"] {
				t.Errorf("update %d, %v: %.200v", seq, err, files)
			}
			before, _, err := hub.FilesAtSeq(t.Context(), other, 1001)
			if err != nil || !strings.Contains(before[0].Content, "w1001") || strings.Contains(before[0].Content, "w1002") {
				t.Errorf("of its past: %.200v, %v", before, err)
			}
		})
	}
}

// An empty room is one too.
func TestEmptyRoom(t *testing.T) {
	st := open(t)
	_, err := st.CreateRoom(t.Context(), store.NewRoom{ID: "empty.room"})
	must(t, err)
	b, err := take(export(t, st, "empty.room"), 1<<20)
	must(t, err)
	must(t, b.Store(t.Context(), st, "new", nil))
	same(t, map[string]string{"": strings.ReplaceAll(fmt.Sprint(contents(t, export(t, st, "new"))), `"new"`, `"empty.room"`)},
		map[string]string{"": fmt.Sprint(contents(t, export(t, st, "empty.room")))})
	if err := Write(t.Context(), st, "none", io.Discard); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a bundle of no room: %v", err)
	}
}

// No token is in a bundle, nor a hash of one.
func TestNoSecrets(t *testing.T) {
	st := open(t)
	furnish(t, st, 600, false)
	token, hash := store.NewToken()
	_, err := st.RotateToken(t.Context(), roomID0, store.RoleHost, hash, nil)
	must(t, err)
	all := fmt.Sprint(contents(t, export(t, st, roomID0)))
	for _, secret := range []string{token, string(hash[:]), fmt.Sprintf("%x", hash), "token", "hash"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in it", secret)
		}
	}
}

// repack makes another archive of one, in which change may do anything.
func repack(t testing.TB, data []byte, change func(entries map[string]string, w *zip.Writer)) []byte {
	t.Helper()
	entries := contents(t, data)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	change(entries, w)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e, err := w.Create(name)
		must(t, err)
		_, err = io.WriteString(e, entries[name])
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

// Whatever is wrong with a bundle, it is refused with a reason, and nothing is stored.
func TestRefused(t *testing.T) {
	st := open(t)
	furnish(t, st, 600, true)
	good := export(t, st, roomID0)
	set := func(name, content string) func(map[string]string, *zip.Writer) {
		return func(all map[string]string, _ *zip.Writer) { all[name] = content }
	}
	drop := func(name string) func(map[string]string, *zip.Writer) {
		return func(all map[string]string, _ *zip.Writer) { delete(all, name) }
	}
	swap := func(name, old, new string) func(map[string]string, *zip.Writer) {
		return func(all map[string]string, _ *zip.Writer) {
			if !strings.Contains(all[name], old) {
				t.Errorf("%s has no %s", name, old)
			}
			all[name] = strings.Replace(all[name], old, new, 1)
		}
	}
	twice := func(name string) func(map[string]string, *zip.Writer) {
		return func(_ map[string]string, w *zip.Writer) {
			_, err := w.Create(name)
			must(t, err)
		}
	}
	const run1 = "runs/1/run.json"
	for _, tt := range []struct {
		name   string
		change func(map[string]string, *zip.Writer)
		want   string
	}{
		{"up and away", set("files/../../x", ""), "bad name"},
		{"from the root", set("/etc/passwd", ""), "bad name"},
		{"a backslash", set(`files\x`, ""), "bad name"},
		{"a control character", set("files/a\nb", ""), "bad name"},
		{"a long name", set("files/"+strings.Repeat("x", 2000), ""), "bad name"},
		{"not UTF-8", set("files/\xff", ""), "bad name"},
		{"a folder with content", func(_ map[string]string, w *zip.Writer) {
			_, err := w.CreateRaw(&zip.FileHeader{Name: "files/x/", UncompressedSize64: 5})
			must(t, err)
		}, "no file"},
		{"a link", func(_ map[string]string, w *zip.Writer) {
			h := &zip.FileHeader{Name: "files/link"}
			h.SetMode(fs.ModeSymlink | 0o777)
			_, err := w.CreateHeader(h)
			must(t, err)
		}, "no file"},
		{"one entry twice", twice(manifestName), "two entries"},
		{"one file twice", twice("files/main.py"), "two entries"},
		{"encrypted", func(_ map[string]string, w *zip.Writer) {
			_, err := w.CreateRaw(&zip.FileHeader{Name: "files/secret", Flags: 1})
			must(t, err)
		}, "encrypted"},
		{"packed otherwise", func(_ map[string]string, w *zip.Writer) {
			_, err := w.CreateRaw(&zip.FileHeader{Name: "files/packed", Method: 12})
			must(t, err)
		}, "not known"},
		{"a bomb", set("files/zeros", strings.Repeat("\x00", 9<<20)), "unpacks to more"},
		{"a bomb that hides", func(_ map[string]string, w *zip.Writer) {
			_, err := w.CreateRaw(&zip.FileHeader{Name: "files/max", UncompressedSize64: 1<<64 - 1})
			must(t, err)
			_, err = w.CreateRaw(&zip.FileHeader{Name: "files/more", UncompressedSize64: 1 << 20})
			must(t, err)
		}, "unpacks to more"},
		{"something else", set("readme.txt", ""), "no part of a room"},
		{"a run without a number", set("runs/x/run.json", "{}"), "no part of a room"},
		{"a run with two numbers", set("runs/01/run.json", "{}"), "no part of a room"},
		{"something else of a run", set("runs/1/token", ""), "no part of a room"},
		{"output of no run", set("runs/9/output.txt", ""), "no runs/9/run.json"},

		{"no manifest", drop(manifestName), "no manifest.json"},
		{"another kind", set(manifestName, `{"format":"x"}`), "no bundle of a room"},
		{"a newer version", swap(manifestName, `"version": 1`, `"version": 2`), "newer Corun"},
		{"a long manifest", set(manifestName, strings.Repeat(" ", maxManifest+1)), "at most"},
		{"an unknown field", swap(manifestName, `"version": 1`, `"version": 1, "hash": "x"`), "unknown field"},
		{"a bad id", swap(manifestName, roomID0, "../x"), "id"},
		{"a title of two lines", swap(manifestName, "\\u003cMaths", "\\nMaths"), "title"},
		{"a long language", swap(manifestName, `"python"`, `"`+strings.Repeat("x", 65)+`"`), "language"},
		{"before its time", swap(manifestName, `"created_at": "20`, `"created_at": "10`), "time"},
		{"more updates", swap(manifestName, `"last_update": 600`, `"last_update": 601`), "601"},
		{"too many updates", swap(manifestName, `"last_update": 600`, `"last_update": 9000000000000000000`), "numbers of updates"},
		{"fewer runs", swap(manifestName, `"runs": 4`, `"runs": 2`), "runs"},
		{"more events", swap(manifestName, `"events": 100`, `"events": 101`), "events"},
		{"a base that is not there", drop(baseName), baseName},

		{"no updates", drop(updatesName), updatesName},
		{"an update that is none", swap(updatesName, `"update":"`, `"update":"////`), "line 1"},
		{"an empty update", func(all map[string]string, _ *zip.Writer) {
			head, rest, _ := strings.Cut(all[updatesName], `"update":"`)
			_, rest, _ = strings.Cut(rest, `"`)
			all[updatesName] = head + `"update":"` + `"` + rest
		}, "0 bytes"},
		{"no base64", swap(updatesName, `"update":"`, `"update":"!`), "line 1"},
		{"an update twice", func(all map[string]string, _ *zip.Writer) {
			line, _, _ := strings.Cut(all[updatesName], "\n")
			all[updatesName] = line + "\n" + all[updatesName]
		}, "line 2"},
		{"half an update", func(all map[string]string, _ *zip.Writer) {
			all[updatesName] = all[updatesName][:len(all[updatesName])-20]
		}, "line 400"},
		{"an author without end", swap(updatesName, `"author":"`, `"author":"`+strings.Repeat("x", 300)), "author"},
		{"a time without end", swap(updatesName, `"at":"20`, `"at":"00`), "time"},
		{"a line without end", set(eventsName, strings.Repeat("x", maxEventLine+1)), "more than"},
		{"no document", drop(documentName), documentName},
		{"another document", set(documentName, "\x00\x00"), "not what its history comes to"},
		{"a document that is none", set(documentName, "\xff\xff"), documentName},
		{"a base that is none", set(baseName, "\xff\xff"), baseName},

		{"a run of another room", swap(run1, roomID0, "x"), "of room"},
		{"a run of another number", swap(run1, `"number": 1`, `"number": 2`), "run 2"},
		{"a run that goes on", swap(run1, `"finished"`, `"running"`), "not ended"},
		{"an unknown verdict", swap(run1, `"exited"`, `"won"`), "not ended"},
		{"an unknown mode", swap(run1, `"pipes"`, `"x"`), "mode"},
		{"a run of the future", swap(run1, `"update": 200`, `"update": 601`), "601"},
		{"a run before all", swap(run1, `"update": 200`, `"update": -1`), "-1"},
		{"a bad state vector", swap(run1, `"state_vector": "`, `"state_vector": "/////`), "run.json"},
		{"a token in a run", swap(run1, `"update": 200`, `"update": 200, "token": "x"`), "unknown field"},
		{"a file too few", drop("runs/1/artefacts/empty"), "tells of 2 files"},
		{"a file too many", set("runs/1/artefacts/x", ""), "tells of 2 files"},
		{"a file of another name", func(all map[string]string, _ *zip.Writer) {
			delete(all, "runs/1/artefacts/empty")
			all["runs/1/artefacts/other"] = ""
		}, "has nothing"},
		{"a file of another size", set("runs/1/artefacts/empty", "x"), "another size"},
		{"a file told of twice", swap(run1, `"path": "empty",
        "size": 0`, `"path": "plots/a%5C\\b.png",
        "size": 3`), "twice"},
		{"output without its index", drop("runs/1/output.index"), "not both"},
		{"an unknown stream", swap("runs/1/output.index", "stderr", "stdin"), "no stream"},
		{"more output", swap("runs/1/output.index", "stdout 8", "stdout 9"), "not of"},
		{"less output", swap("runs/1/output.index", "stdout 8 1700000000000000\n", ""), "more than"},
		{"output of no time", swap("runs/1/output.index", " 1700000000000001", " -1"), "no time"},
		{"negative output", swap("runs/1/output.index", "stdout 8", "stdout -8"), "no stream"},

		{"no tests", drop(testsName), testsName},
		{"fewer tests", swap(manifestName, `"tests": 2`, `"tests": 1`), "2 cases"},
		{"a test of no kind", swap(testsName, `"regex"`, `"glob"`), "cases[0].match"},
		{"an expression that is none", swap(testsName, `"x+"`, `"("`), "cases[0].expected"},
		{"a test twice", swap(testsName, `"id": "c"`, `"id": "a"`), "cases[1].id"},
		{"a token in a test", swap(testsName, `"id": "a"`, `"id": "a", "token": "x"`), "unknown field"},
		{"results of another run", func(all map[string]string, _ *zip.Writer) { all["runs/1/tests.jsonl"] = all["runs/4/tests.jsonl"] }, "none of tests"},
		{"results of no run", set("runs/9/tests.jsonl", ""), "no runs/9/run.json"},
		{"a run of tests that tells of none", swap("runs/4/run.json", `"tests": {`, `"compile": {`), "unknown field"},
		{"a run of tests that says it was none", swap("runs/4/run.json", `"mode": "tests"`, `"mode": "pipes"`), "another"},
		{"a result that is none", swap("runs/4/tests.jsonl", `"verdict":"passed"`, `"verdict":"won it"`), "verdict"},
		{"a result that is another", swap("runs/4/tests.jsonl", `"verdict":"passed"`, `"verdict":"timeout"`), "verdict"},
		{"a result of no case", swap("runs/4/tests.jsonl", `"id":"a"`, `"id":"../a"`), "case"},
		{"results without end", func(all map[string]string, _ *zip.Writer) {
			all["runs/4/tests.jsonl"] = strings.Repeat(all["runs/4/tests.jsonl"], maxResults)
		}, "more than"},

		{"no events", drop(eventsName), eventsName},
		{"an event that is none", swap(eventsName, `{`, `[`), "line 1"},
		{"an event of no kind", swap(eventsName, `"join"`, `""`), "kind"},
		{"an event without data", swap(eventsName, `"data":`, `"date":`), "unknown field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := take(repack(t, good, tt.change), 8<<20)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want one that says %q", err, tt.want)
			}
		})
	}
	for _, data := range [][]byte{nil, []byte("text"), good[:len(good)/2], good[len(good)/2:]} {
		if _, err := take(data, 8<<20); err == nil {
			t.Errorf("%d bytes of nothing were taken", len(data))
		}
	}
	// A byte that was changed on the way is found.
	changed := bytes.Clone(good)
	changed[len(changed)/3] ^= 1
	if _, err := take(changed, 8<<20); err == nil {
		t.Error("a changed bundle was taken")
	}
	// Other programs that pack archives write folders too.
	with := repack(t, good, func(_ map[string]string, w *zip.Writer) {
		_, err := w.Create("files/")
		must(t, err)
	})
	if _, err := take(with, 8<<20); err != nil {
		t.Errorf("with a folder: %v", err)
	}
}

// A room that could not be stored as a whole is not there.
func TestHalfStoredIsGone(t *testing.T) {
	from, to := open(t), open(t)
	furnish(t, from, 3000, false)
	b, err := take(export(t, from, roomID0), 1<<30)
	must(t, err)
	token, hash := store.NewToken()
	if err := b.Store(t.Context(), to, roomID0, map[store.Role][32]byte{"king": hash}); err == nil {
		t.Error("a role that there is not was stored")
	}
	if _, err := to.Room(t.Context(), roomID0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the room: %v", err)
	}
	if _, err := to.GrantByToken(t.Context(), roomID0, store.HashToken(token)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("its token: %v", err)
	}
	must(t, b.Store(t.Context(), to, roomID0, map[store.Role][32]byte{store.RoleHost: hash}))
}

func FuzzOpen(f *testing.F) {
	st := open(f)
	_, err := st.CreateRoom(f.Context(), store.NewRoom{ID: "r"})
	must(f, err)
	small := export(f, st, "r")
	f.Add(small)
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := take(data, 1<<20); err == nil && !roomID.MatchString(b.ID) {
			t.Errorf("a room of the id %q", b.ID)
		}
	})
}
