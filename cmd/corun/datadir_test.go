package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// intruder is the account in these tests, and who has broken into its server.
var intruder = account{spareID, spareID}

// former is a data directory as a former version left it: the account's, but for the images.
func former(t *testing.T) (string, *common) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := filepath.Join(t.TempDir(), "data")
	must(t, os.MkdirAll(filepath.Join(dir, imagesFolder, "names"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "corun.db"), nil, 0o600))
	must(t, os.Chown(filepath.Join(dir, "corun.db"), intruder.uid, intruder.gid))
	must(t, os.Chown(dir, intruder.uid, intruder.gid))
	return dir, &common{DataDir: dir, User: "no-such-user"}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Uid
}

func TestDataDirIsTakenBack(t *testing.T) {
	dir, common := former(t)
	for range 2 {
		must(t, intruder.take(common))
		var st unix.Stat_t
		must(t, unix.Lstat(dir, &st))
		if st.Uid != 0 || int(st.Gid) != intruder.gid || st.Mode&0o7777 != settledMode {
			t.Fatalf("the data directory is of %d:%d with mode %o", st.Uid, st.Gid, st.Mode)
		}
	}
	if ownerOf(t, filepath.Join(dir, "corun.db")) != spareID || ownerOf(t, filepath.Join(dir, imagesFolder)) != 0 {
		t.Error("the database or the images have another owner")
	}
	// Of a former account, and of root.
	must(t, os.Chown(dir, 64_000, 64_000))
	must(t, os.Chown(filepath.Join(dir, "corun.db"), 64_000, 64_000))
	must(t, os.WriteFile(filepath.Join(dir, "corun.db.lock"), nil, 0o600))
	must(t, intruder.take(common))
	for _, name := range []string{"corun.db", "corun.db.lock"} {
		if uid := ownerOf(t, filepath.Join(dir, name)); uid != spareID {
			t.Errorf("%s is of %d", name, uid)
		}
	}
}

func TestImagesOfAnother(t *testing.T) {
	tests := []struct {
		name string
		do   func(images string) error
	}{
		{"the folder", func(images string) error { return os.Lchown(images, spareID, spareID) }},
		{"what is in it", func(images string) error { return os.Lchown(filepath.Join(images, "names"), spareID, spareID) }},
		{"a link", func(images string) error {
			return errors.Join(os.Rename(images, images+".moved"), os.Symlink(images+".moved", images))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, common := former(t)
			must(t, tt.do(filepath.Join(dir, imagesFolder)))
			for range 2 {
				if err := intruder.take(common); err == nil || !strings.Contains(err.Error(), "chown -R root: "+dir+"/images") {
					t.Errorf("the images are taken: %v", err)
				}
			}
			if ownerOf(t, dir) != spareID {
				t.Error("what is refused has another owner")
			}
		})
	}
	// Made in a directory that is root's already.
	dir, common := former(t)
	must(t, os.RemoveAll(filepath.Join(dir, imagesFolder)))
	must(t, intruder.take(common))
	must(t, os.Mkdir(filepath.Join(dir, imagesFolder), 0o755))
	must(t, os.Chown(filepath.Join(dir, imagesFolder), spareID, spareID))
	if _, err := common.imageFolder(true); err == nil || !strings.Contains(err.Error(), "not root's alone") {
		t.Errorf("images of the account's are used: %v", err)
	}
}

func TestOnlyTheDatabaseIsHandedOver(t *testing.T) {
	dir, common := former(t)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "shadow"), []byte("secret"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a", "shadow"), nil, 0o600))
	must(t, os.Symlink(filepath.Join(outside, "shadow"), filepath.Join(dir, "corun.db-wal")))
	must(t, os.WriteFile(filepath.Join(dir, "key"), nil, 0o600))
	must(t, intruder.take(common))
	for _, path := range []string{filepath.Join(outside, "shadow"), filepath.Join(dir, "a", "shadow"), filepath.Join(dir, "key"), filepath.Join(dir, "corun.db-wal")} {
		if uid := ownerOf(t, path); uid != 0 {
			t.Errorf("%s is given to %d", path, uid)
		}
	}
	must(t, os.Link(filepath.Join(outside, "shadow"), filepath.Join(dir, "corun.db-shm")))
	if err := intruder.take(common); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("a hard link: %v", err)
	}
	if uid := ownerOf(t, filepath.Join(outside, "shadow")); uid != 0 {
		t.Errorf("by a hard link shadow is given to %d", uid)
	}
}

// Whatever the account exchanges for what meanwhile, nothing outside becomes its own.
func TestHandOverRace(t *testing.T) {
	dir, common := former(t)
	outside := filepath.Join(t.TempDir(), "rootowned")
	must(t, os.Mkdir(outside, 0o755))
	shadow := filepath.Join(outside, "shadow")
	must(t, os.WriteFile(shadow, nil, 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
	for i := range 200 { // others at which the walk is late
		must(t, os.WriteFile(filepath.Join(dir, "a", fmt.Sprint(i)), nil, 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, "a", "shadow"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "corun.db-shm"), nil, 0o600))
	must(t, os.Symlink(outside, filepath.Join(dir, "b")))
	must(t, os.Symlink(shadow, filepath.Join(dir, "c")))
	stop := make(chan struct{})
	var swaps sync.WaitGroup
	for _, pair := range [][2]string{{"a", "b"}, {"corun.db-shm", "c"}} {
		swaps.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, pair[0]), unix.AT_FDCWD, filepath.Join(dir, pair[1]), unix.RENAME_EXCHANGE)
			}
		})
	}
	for range 1000 {
		must(t, os.Chown(dir, intruder.uid, intruder.gid))
		if err := intruder.take(common); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	swaps.Wait()
	if uid := ownerOf(t, shadow); uid != 0 {
		t.Errorf("shadow is given to %d", uid)
	}
}

func TestOpenTrusts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	top := t.TempDir()
	make := func(name string, uid int, mode os.FileMode) {
		path := filepath.Join(top, name)
		must(t, errors.Join(os.MkdirAll(path, 0o755), os.Chown(path, uid, uid), os.Chmod(path, mode)))
	}
	make("ada/clone/data", 0, 0o755)
	make("ada/clone", 64_000, 0o775)
	make("ada", 64_000, 0o755)
	make("tmp/corun/data", 0, 0o755)
	make("tmp/root/data", 0, 0o755)
	make("tmp/corun", spareID, 0o755)
	make("tmp", 0, 0o777|os.ModeSticky)
	make("open/data", 0, 0o755)
	make("open", 0, 0o777)
	make("own/data", 0, 0o755)
	make("own", spareID, 0o755)
	must(t, os.Symlink("ada/clone", filepath.Join(top, "link")))
	must(t, os.Symlink("../ada/clone", filepath.Join(top, "tmp", "rootlink")))
	must(t, os.Symlink("../ada/clone", filepath.Join(top, "tmp", "theirlink")))
	must(t, os.Lchown(filepath.Join(top, "tmp", "theirlink"), spareID, spareID))
	for path, good := range map[string]bool{
		"ada/clone/data": true, "tmp/root/data": true, "tmp/corun": true, "own": true, "link/data": true, "tmp/rootlink/data": true,
		"tmp/corun/data": false, "open/data": false, "own/data": false, "tmp/theirlink/data": false, "own/new": false,
	} {
		dir, err := intruder.open(filepath.Join(top, path), true)
		var changeable *changeableError
		if good && err != nil || !good && !errors.As(err, &changeable) {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			must(t, dir.Close())
		}
	}
}

// Root's commands leave a database to the account that is the account's.
func TestCommandsByTheAccountsHand(t *testing.T) {
	dir, _ := former(t)
	must(t, os.Remove(filepath.Join(dir, "corun.db")))
	secret := filepath.Join(t.TempDir(), "secret") // closed to all but root
	must(t, os.Mkdir(secret, 0o700))
	say := func(args ...string) (string, error) {
		c := corun(t, t.TempDir(), append(args, "--data-dir", dir, "--user", "no-such-user")...)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	good := func(args ...string) string {
		t.Helper()
		out, err := say(args...)
		if err != nil {
			t.Fatalf("corun %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	backup := filepath.Join(secret, "backup")
	good("room", "create", "--title", "Maths")
	good("token", "create", "--name", "ci")
	if out := good("backup", backup); !strings.Contains(out, backup+": ") {
		t.Errorf("backup says %q", out)
	}
	if uid := ownerOf(t, backup); uid != 0 {
		t.Errorf("the backup is of %d", uid)
	}
	if out, err := say("backup", backup); err == nil || !strings.Contains(out, "not overwritten") {
		t.Errorf("a second backup: %v, %s", err, out)
	}
	if out, err := say("restore", backup); err == nil || strings.Count(out, "--force") != 1 {
		t.Errorf("restored over a database: %v, %s", err, out)
	}
	good("restore", "--force", backup)
	if list := good("room", "list"); !strings.Contains(list, "Maths") {
		t.Errorf("restored are %q", list)
	}
	files, err := filepath.Glob(filepath.Join(dir, "corun.db*"))
	must(t, err)
	for _, file := range files {
		if uid := ownerOf(t, file); uid != spareID {
			t.Errorf("%s is of %d", file, uid)
		}
	}
	// It leads nowhere that only root can go.
	target := filepath.Join(secret, "made")
	must(t, os.Remove(filepath.Join(dir, "corun.db")))
	must(t, os.Symlink(target, filepath.Join(dir, "corun.db")))
	if out, err := say("token", "create"); err == nil {
		t.Errorf("a token is made through a link: %s", out)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("root has made what a link leads to")
	}
}
