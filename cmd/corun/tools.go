package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"corun/bundle"
	"corun/collab"
	"corun/runner"
	"corun/runner/image"
	"corun/runner/sandbox"
	profiles "corun/sandbox-profiles"
	"corun/store"
)

// image opens the chosen image, and builds the default one first if it is not there.
// It cannot be removed until this process has ended.
func (b boxFlags) image(ctx context.Context, common *common, progress io.Writer) (img image.Image, err error) {
	dir, err := common.imageFolder(true)
	if err != nil {
		return img, err
	}
	switch b.Image {
	case "host":
		if img, err = image.Host(dir); err != nil {
			err = fmt.Errorf("use the host as image: %w", err)
		}
		return img, err
	case "default":
		recipe, err := image.DefaultRecipe()
		if err != nil {
			return img, fmt.Errorf("read image recipe: %w", err)
		}
		if img, err = image.Build(ctx, recipe, dir, progress); err != nil {
			return img, fmt.Errorf("build image (or use --image host, which is weaker): %w", err)
		}
	default:
		if img, err = image.Open(dir, b.Image); err != nil {
			return img, fmt.Errorf("%w; corun image list shows what there is", err)
		}
	}
	_, err = image.Hold(ctx, img)
	return img, err
}

type doctorCmd struct {
	boxFlags

	Seccomp string `help:"Print what a seccomp profile allows: default, compile or jvm." placeholder:"PROFILE"`
}

// Run prints a line for each finding and fails if one of them is fatal.
func (c *doctorCmd) Run(ctx context.Context, out io.Writer, common *common, log *slog.Logger) error {
	if c.Seccomp != "" {
		return printSeccomp(out, c.Seccomp)
	}
	findings := append(c.findings(ctx), c.checkImage(common), checkStore(ctx, common))
	findings = append(findings, c.checkLanguages(ctx, common, findings)...)
	fatal := 0
	for _, f := range findings {
		mark := "ok  "
		switch {
		case !f.OK && f.Fatal && !(f.Limits && c.withoutLimits()):
			mark = "FAIL"
			fatal++
		case !f.OK:
			mark = "weak"
		}
		fmt.Fprintf(out, "%s  %-12s %s\n", mark, f.Name, f.Detail)
		if !f.OK && f.Mend != "" {
			fmt.Fprintf(out, "      %-12s mend: %s\n", "", f.Mend)
		}
	}
	if fatal > 0 {
		fmt.Fprintf(out, "\n%d fault(s) keep Corun from running programs here.\n", fatal)
		return exitStatus(1)
	}
	fmt.Fprintln(out, "\nCorun can run programs here.")
	return nil
}

// printSeccomp says what a profile does to a program's system calls.
func printSeccomp(out io.Writer, name string) error {
	oci, err := fs.ReadFile(profiles.FS, "seccomp/"+name+".json")
	if err != nil {
		return fmt.Errorf("there is no seccomp profile %q: use default, compile or jvm", name)
	}
	d, err := sandbox.DescribeSeccomp(oci)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Allowed (%d):\n  %s\n\nAmong these, by arguments:\n", len(d.Allowed), strings.Join(d.Allowed, " "))
	for _, line := range d.Conditions {
		fmt.Fprintf(out, "  %s\n", line)
	}
	fmt.Fprintf(out, "\nAnswered as if done: %s\n", strings.Join(d.Ignored, " "))
	fmt.Fprintf(out, "\nRefused (%d):\n", len(d.Refused))
	for _, call := range slices.Sorted(maps.Keys(d.Refused)) {
		fmt.Fprintf(out, "  %s: %v\n", call, d.Refused[call])
	}
	fmt.Fprintf(out, "\nAll others: %v. Calls of another architecture end the program.\n", d.Otherwise)
	return nil
}

const notBuilt = "the default image is not built yet"

func (c *doctorCmd) checkImage(common *common) sandbox.Finding {
	f := sandbox.Finding{Name: "image", OK: true}
	if c.Image == "host" {
		f.OK, f.Detail = false, "programs would see this machine's own /usr (read-only): weaker than an image of their own"
		f.Mend = "leave --image host out"
		return f
	}
	name := c.Image
	if name == "default" {
		recipe, err := image.DefaultRecipe()
		if err != nil {
			f.OK, f.Fatal, f.Detail = false, true, err.Error()
			return f
		}
		name = recipe.Name()
	}
	dir, err := common.imageFolder(false)
	if err != nil {
		f.OK, f.Fatal, f.Detail = false, true, err.Error()
		return f
	}
	img, err := image.Open(dir, name)
	if err != nil && c.Image != "default" {
		f.OK, f.Fatal, f.Detail, f.Mend = false, true, err.Error(), "corun image list shows what there is"
		return f
	}
	if err != nil {
		f.OK, f.Detail, f.Mend = false, notBuilt, "corun image build (serve does it too; it needs mmdebstrap and takes some minutes, once)"
		return f
	}
	f.Detail = img.Name + " in " + dir
	return f
}

// checkLanguages tries each language in boxes, where these can be made: its example, and
// its runtime. One that does not work is no reason not to serve the others.
func (c *doctorCmd) checkLanguages(ctx context.Context, common *common, before []sandbox.Finding) []sandbox.Finding {
	for _, f := range before {
		if !f.OK && f.Fatal && !(f.Limits && c.withoutLimits()) {
			return nil
		}
		if f.Name == "image" && f.Detail == notBuilt {
			return nil // it would be built
		}
	}
	fail := func(err error) []sandbox.Finding {
		return []sandbox.Finding{{Name: "languages", Fatal: true, Detail: err.Error(), Mend: "see that no other corun doctor is at work, and the image: corun image verify"}}
	}
	quiet := slog.New(slog.DiscardHandler)
	launcher, img, err := c.boxFlags.open(ctx, common, quiet, fmt.Sprintf("corun-doctor-%d", os.Getpid()))
	if err != nil {
		return fail(err)
	}
	run, stop, err := c.boxFlags.start(ctx, runner.Config{Launcher: launcher, Image: img, NoPool: true, Log: quiet})
	if err != nil {
		return fail(err)
	}
	var found []sandbox.Finding
	for _, t := range run.Try(ctx) {
		f := sandbox.Finding{Name: t.Language, OK: true, Detail: t.Version + "; its example runs"}
		switch {
		case t.Failure != nil:
			f.OK, f.Detail, f.Mend = false, t.Failure.Error(), "it is left out until the image has what it needs: see docs/languages.md"
		case t.RuntimeFailure != nil:
			f.OK, f.Detail, f.Mend = false, fmt.Sprintf("%s, but its programs start slowly: %v", f.Detail, t.RuntimeFailure), "see the language's profile"
		case t.RuntimeTime > 0:
			f.Detail += fmt.Sprintf("; its runtime is ready in %d ms and takes %d MiB", t.RuntimeTime.Milliseconds(), t.RuntimeBytes>>20)
		}
		found = append(found, f)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if err := stop(closing); err != nil {
		return append(found, fail(err)...)
	}
	return found
}

func checkStore(ctx context.Context, common *common) sandbox.Finding {
	f := sandbox.Finding{Name: "store", OK: true, Detail: common.databaseURL()}
	err := tryStore(ctx, common)
	if err != nil {
		f.OK, f.Fatal, f.Detail, f.Mend = false, true, err.Error(), "see that the data directory can be written and has room"
	}
	return f
}

// tryStore opens the database. By the account's hand, a command that does that is tried.
func tryStore(ctx context.Context, common *common) error {
	who, err := common.databaseUser()
	if err != nil {
		return err
	}
	if who != nil {
		var said strings.Builder
		err := who.do(ctx, common, delegated{args: append([]string{"token", "list"}, common.flags()...), out: io.Discard, errs: &said})
		if said.Len() > 0 {
			return errors.New(strings.TrimPrefix(strings.TrimSpace(said.String()), "corun: "))
		}
		return err
	}
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	return errors.Join(st.Ping(ctx), st.Close())
}

func openStore(ctx context.Context, common *common) (*store.Store, error) {
	if err := common.makeDataDir(); err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, common.databaseURL(), store.Options{})
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return st, nil
}

type roomCmd struct {
	Create roomCreateCmd `cmd:"" help:"Make a room and print its links."`
	List   roomListCmd   `cmd:"" help:"List the rooms."`
	Import roomImportCmd `cmd:"" help:"Make a room of a bundle, which the API gives, and print its links."`
	Delete roomDeleteCmd `cmd:"" help:"Delete a room and everything of it. Do it while the server is stopped, or use the API."`
}

type roomCreateCmd struct {
	Title    string `help:"Title of the room."`
	Language string `help:"Language of the room." default:"python"`
	BaseURL  string `name:"base-url" help:"Where people reach the server." default:"http://127.0.0.1:8080"`
	JSON     bool   `help:"Print JSON, as the API answers."`
}

func (c *roomCreateCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	defer st.Close()
	profile, err := runner.Profile(c.Language)
	if err != nil {
		return err
	}
	update, err := collab.InitialDocument(collab.Initial{
		Title: c.Title, Language: profile.Name, Entry: "main", Files: []collab.File{{ID: "main", Path: profile.Entry}},
	})
	if err != nil {
		return err
	}
	id := store.NewRoomID()
	keys := newRoomKeys(id, c.BaseURL)
	_, err = st.CreateRoom(ctx, store.NewRoom{ID: id, Title: c.Title, Language: profile.Name, TokenHashes: keys.hashes, InitialUpdate: update})
	if err != nil {
		return fmt.Errorf("create room: %w", err)
	}
	return keys.print(out, c.JSON, id, c.Title, profile.Name)
}

// roomKeys are a new room's tokens and links.
type roomKeys struct {
	hashes        map[store.Role][32]byte
	tokens, links map[store.Role]string
}

func newRoomKeys(id, baseURL string) roomKeys {
	k := roomKeys{make(map[store.Role][32]byte), make(map[store.Role]string), make(map[store.Role]string)}
	for _, role := range store.Roles {
		k.tokens[role], k.hashes[role] = store.NewToken()
		k.links[role] = fmt.Sprintf("%s/r/%s#t=%s", strings.TrimRight(baseURL, "/"), id, k.tokens[role])
	}
	return k
}

// print shows a room's links, or all as the API answers.
func (k roomKeys) print(out io.Writer, asJSON bool, id, title, language string) error {
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"id": id, "title": title, "language": language, "links": k.links, "tokens": k.tokens})
	}
	for _, role := range store.Roles {
		fmt.Fprintf(out, "%-7s %s\n", role, k.links[role])
	}
	return nil
}

type roomImportCmd struct {
	File    string   `arg:"" help:"Bundle, from GET /api/v1/rooms/{id}/bundle." type:"path"`
	ID      bool     `name:"id" help:"Keep the room's id, if no room here has it."`
	MaxSize byteSize `help:"Most that the bundle may unpack to, such as 4GiB." default:"1GiB" placeholder:"SIZE"`
	BaseURL string   `name:"base-url" help:"Where people reach the server." default:"http://127.0.0.1:8080"`
	JSON    bool     `help:"Print JSON, as the API answers."`
}

// Help is shown by --help.
func (roomImportCmd) Help() string {
	return `All of the bundle is checked before anything is stored. The room gets new tokens; links to
where it came from do not open it. The server may be running.`
}

func (c *roomImportCmd) operand() (*os.File, error) { return os.Open(c.File) }

// Run imports the room.
func (c *roomImportCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	f, err := common.open(c, c.File)
	if err != nil {
		return fmt.Errorf("open bundle: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at the bundle: %w", err)
	}
	if info.Size() > int64(c.MaxSize) {
		return fmt.Errorf("%s has %d bytes: --max-size allows %d", c.File, info.Size(), c.MaxSize)
	}
	b, err := bundle.Open(f, info.Size(), int64(c.MaxSize))
	if err != nil {
		return fmt.Errorf("%s is refused: %w", c.File, err)
	}
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	defer st.Close()
	id := store.NewRoomID()
	if c.ID {
		id = b.ID
	}
	keys := newRoomKeys(id, c.BaseURL)
	err = b.Store(ctx, st, id, keys.hashes)
	if errors.Is(err, store.ErrExists) {
		return fmt.Errorf("there is a room %s here already: leave --id out to give this one another id", id)
	}
	if err != nil {
		return fmt.Errorf("import room: %w", err)
	}
	return keys.print(out, c.JSON, id, b.Title, b.Language)
}

type roomListCmd struct{}

func (roomListCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	defer st.Close()
	rooms, err := st.Rooms(ctx)
	if err != nil {
		return fmt.Errorf("list rooms: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tCREATED\tLANGUAGE\tTITLE")
	for _, r := range rooms {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.ID, r.CreatedAt.Format(time.DateTime), r.Language, r.Title)
	}
	return w.Flush()
}

type roomDeleteCmd struct {
	ID string `arg:"" help:"The room's id."`
}

func (c *roomDeleteCmd) Run(ctx context.Context, common *common) error {
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	defer st.Close()
	rooms := collab.NewHub(st, collab.HubOptions{})
	if err := errors.Join(rooms.Delete(ctx, c.ID), rooms.Close(ctx)); err != nil {
		return fmt.Errorf("delete room %s: %w", c.ID, err)
	}
	return nil
}

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make an API token and print it, once."`
	List   tokenListCmd   `cmd:"" help:"List the API tokens (not their secrets)."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke an API token."`
}

type tokenCreateCmd struct {
	Name    string        `help:"What the token is for." default:"token"`
	Expires time.Duration `help:"For how long the token is good, such as 720h. Default: until it is revoked." placeholder:"DURATION"`
}

func (c *tokenCreateCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	defer st.Close()
	token, hash := store.NewToken()
	var expires time.Time
	if c.Expires < 0 {
		return fmt.Errorf("--expires is %v: give a time to come, such as 720h", c.Expires)
	}
	if c.Expires > 0 {
		expires = time.Now().Add(c.Expires)
	}
	if _, err := st.CreateAPIToken(ctx, c.Name, hash, expires); err != nil {
		return fmt.Errorf("create token: %w", err)
	}
	_, err = fmt.Fprintln(out, token)
	return err
}

type tokenListCmd struct{}

func (tokenListCmd) Run(ctx context.Context, out io.Writer, common *common) error {
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	defer st.Close()
	tokens, err := st.APITokens(ctx)
	if err != nil {
		return fmt.Errorf("list tokens: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tCREATED\tEXPIRES\tNAME")
	for _, t := range tokens {
		expires := "never"
		if !t.Expires.IsZero() {
			expires = t.Expires.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.ID, t.CreatedAt.Format(time.DateTime), expires, t.Name)
	}
	return w.Flush()
}

type tokenRevokeCmd struct {
	ID string `arg:"" help:"The token's id, from token list."`
}

func (c *tokenRevokeCmd) Run(ctx context.Context, common *common) error {
	st, err := openStore(ctx, common)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := st.RevokeAPIToken(ctx, c.ID); err != nil {
		return fmt.Errorf("revoke token %s: %w", c.ID, err)
	}
	return nil
}
