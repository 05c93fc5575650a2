package web

import (
	"bytes"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// dist is the page as make builds it. A bare clone holds only a placeholder,
// so that the Go code builds without Node.
//
//go:embed all:dist
var dist embed.FS

// contentSecurityPolicy allows the page its own files and sockets and nothing
// else. Editor and terminal set styles from script, which needs unsafe-inline
// for styles; scripts stay strict. Web sockets of the same origin are named
// because not every browser counts them under 'self'.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secure adds the headers that every answer has.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// A room's link carries no secret outside its fragment, but its id is
		// nobody else's business either.
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		next.ServeHTTP(w, r)
	})
}

// page serves the built page: index.html for the places a person can be, files
// below /assets/ for what it loads.
func (s *Server) page() (index http.HandlerFunc, assets http.Handler) {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("web: embedded page: " + err.Error()) // the folder is in the directive above
	}
	html, err := fs.ReadFile(root, "index.html")
	index = func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			http.Error(w, "The page is not in this binary: build it with `make build` (or `make page` and then `go build`). The API works.", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(html)
	}
	files := http.FileServerFS(root)
	assets = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no listings
			return
		}
		// Names with a content hash never change; the rest is asked for again.
		if hashed(path.Base(r.URL.Path)) {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		if r.URL.Path == serviceWorkerPath {
			w.Header().Set("Service-Worker-Allowed", "/") // it lies below /assets/ and serves all pages
		}
		w.Header().Add("Vary", "Accept-Encoding")
		if servePacked(w, r, root) {
			return
		}
		files.ServeHTTP(w, r)
	})
	return index, assets
}

// servePacked answers with the file that the build has packed beside the one that is asked
// for, if there is one and the client takes it: the page is a third as large that way.
func servePacked(w http.ResponseWriter, r *http.Request, root fs.FS) bool {
	if !takesGzip(r.Header.Get("Accept-Encoding")) {
		return false
	}
	name := path.Clean(r.URL.Path)[1:]
	packed, err := fs.ReadFile(root, name+".gz")
	if err != nil {
		return false
	}
	w.Header().Set("Content-Encoding", "gzip")
	if r.Header.Get("Range") == "" {
		// ServeContent leaves it out of what is encoded.
		w.Header().Set("Content-Length", strconv.Itoa(len(packed)))
	}
	http.ServeContent(w, r, path.Base(name), time.Time{}, bytes.NewReader(packed))
	return true
}

// takesGzip tells whether a client named gzip among the encodings that it takes, and not with
// a weight of nothing.
func takesGzip(accepted string) bool {
	for part := range strings.SplitSeq(accepted, ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q, weighted := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(weight, " ", "")), "q=")
			return !weighted || strings.Trim(q, "0.") != ""
		}
	}
	return false
}

// serviceWorkerPath is what gives the page to a browser while the server is away.
const serviceWorkerPath = "/assets/sw.js"

// hashed tells whether a file name carries esbuild's eight-character hash, as
// in main-3QZ5N2XA.js.
func hashed(name string) bool {
	stem := strings.TrimSuffix(name, path.Ext(name))
	_, hash, ok := strings.Cut(stem, "-")
	if !ok {
		return false
	}
	if i := strings.LastIndexByte(hash, '-'); i >= 0 {
		hash = hash[i+1:]
	}
	return len(hash) == 8 && strings.ToUpper(hash) == hash
}
