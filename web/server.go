// Package web is Corun's face: the HTTP API, the web sockets for documents
// (/sync) and for runs and people (/live), and the page. It checks who may do
// what, then hands on: documents to package collab, runs to package runner,
// people to package live. It owns no state but sockets.
package web

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"corun/collab"
	"corun/collab/live"
	"corun/runner"
	"corun/store"
)

// Config says what the server serves and to whom.
type Config struct {
	Store  *store.Store
	Rooms  *collab.Hub
	Runner *runner.Runner
	Log    *slog.Logger
	// AnyoneMayCreate lets rooms be made without an API token.
	AnyoneMayCreate bool
	// OpenRooms makes a room of any name at its first visit, without a token.
	OpenRooms bool
	// TrustProxy takes callers' addresses from X-Forwarded-For. It is only right
	// behind a proxy that writes it.
	TrustProxy bool
	// Origins are the origins whose pages may open web sockets besides our own,
	// as scheme://host[:port].
	Origins []string
	Limits  Limits
	// MaxParticipants bounds the people of a room on /live. Default: live.MaxParticipants.
	MaxParticipants int
}

// Server answers on the public listener. Make it with New, end it with Close.
type Server struct {
	settings sync.Mutex // guards the order in which settings of rooms are stored and made known
	cfg      Config
	log      *slog.Logger
	live     *live.Hub
	events   *eventLog
	upgrader websocket.Upgrader // of /live
	// syncUpgrader makes sockets that are to cost little while nothing happens.
	syncUpgrader websocket.Upgrader
	admission    *admission
	connections  *crowd
	requests     *crowd // behind a proxy
	bodies       *budget
	answers      *budget
	heart        *heart
	stopHeart    context.CancelFunc
	mux          http.Handler

	// sockets counts the open web sockets, so that Close can wait for them.
	sockets sync.WaitGroup
	mu      sync.Mutex // guards closing
	closing bool
}

//go:embed openapi.yaml
var openAPI []byte

// New makes a server. Nothing runs until its handler is called, but for the
// writer of the event log and the heartbeat of sockets.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Log}
	s.events = newEventLog(cfg.Store, cfg.Log)
	s.live = live.NewHub(s.events.add, cfg.MaxParticipants)
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   1 << 10,
		WriteBufferSize:  4 << 10,
		WriteBufferPool:  &sync.Pool{},
		CheckOrigin:      s.originAllowed,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			writeProblem(w, newProblem(status, "this address speaks web sockets: %v", reason))
		},
	}
	s.syncUpgrader = s.upgrader
	s.syncUpgrader.ReadBufferSize, s.syncUpgrader.WriteBufferSize = 512, 1<<10
	s.syncUpgrader.WriteBufferPool = &sync.Pool{}
	s.admission = newAdmission(cfg.Limits)
	s.connections = newCrowd(s.admission.limits, descriptors())
	s.requests = newCrowd(s.admission.limits, descriptors())
	s.bodies = newBudget("bodies of requests", maxBodies, maxBodiesAddress)
	s.answers = newBudget("answers", maxAnswers, maxAnswersAddress)
	s.answers.waiting = newBudget("answers", maxAnswers, maxAnswersAddress)
	s.heart = newHeart(s.admission.limits.MessageBytes)
	ctx, cancel := context.WithCancel(context.Background())
	s.stopHeart = cancel
	go s.heart.run(ctx) // until Close
	s.mux = s.routes()
	return s
}

// handlers are the calls and sockets by pattern. openapi.yaml describes those
// below /api/v1; a test compares the two.
func (s *Server) handlers() map[string]handler {
	all := map[string]handler{
		"POST /api/v1/rooms":                                          s.createRoom,
		"GET /api/v1/rooms/{room}":                                    s.getRoom,
		"PATCH /api/v1/rooms/{room}":                                  s.patchRoom,
		"DELETE /api/v1/rooms/{room}":                                 s.deleteRoom,
		"GET /api/v1/rooms/{room}/files":                              s.getFiles,
		"GET /api/v1/rooms/{room}/archive.zip":                        s.getArchive,
		"GET /api/v1/rooms/{room}/bundle":                             s.getBundle,
		"GET /api/v1/rooms/{room}/history":                            s.getHistory,
		"GET /api/v1/rooms/{room}/playback":                           s.getPlayback,
		"DELETE /api/v1/rooms/{room}/participants/{participant}/name": s.eraseParticipant,
		"POST /api/v1/rooms/{room}/tokens/{role}/rotate":              s.rotateToken,
		"POST /api/v1/rooms/{room}/runs":                              s.postRun,
		"GET /api/v1/rooms/{room}/runs":                               s.getRuns,
		"GET /api/v1/rooms/{room}/runs/{n}":                           s.getRun,
		"POST /api/v1/rooms/{room}/runs/{n}/stop":                     s.stopRun,
		"GET /api/v1/rooms/{room}/runs/{n}/output":                    s.getOutput,
		"GET /api/v1/rooms/{room}/runs/{n}/artefacts/{path...}":       s.getArtefact,
		"GET /api/v1/rooms/{room}/runs/{n}/tests":                     s.getTestResults,
		"POST /api/v1/rooms/{room}/format":                            s.postFormat,
		"GET /api/v1/rooms/{room}/tests":                              s.getTests,
		"PUT /api/v1/rooms/{room}/tests":                              s.putTests,
		"GET /api/v1/languages":                                       s.getLanguages,
		"GET /api/v1/openapi.yaml":                                    s.getOpenAPI,
		"GET /sync/{room}":                                            s.serveSync,
		"GET /sync/{room}/notes":                                      s.serveNotes,
		"GET /api/v1/rooms/{room}/notes":                              s.getNotes,
		"GET /live/{room}":                                            s.serveLive,
		"GET /healthz":                                                s.healthz,
		"GET /readyz":                                                 s.readyz(false),
	}
	for _, root := range executeRoots {
		all["POST "+root+"/execute"] = s.withMessage(s.execute)
		all["GET "+root+"/runtimes"] = s.withMessage(s.getRuntimes)
	}
	return all
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range s.handlers() {
		mux.Handle(pattern, s.api(h))
	}
	mux.Handle("/api/", s.api(func(_ http.ResponseWriter, r *http.Request) error {
		return newProblem(http.StatusNotFound, "there is no %s %s; see /api/v1/openapi.yaml for the calls there are", r.Method, r.URL.Path)
	}))
	index, assets := s.page()
	mux.Handle("GET /{$}", index)
	mux.Handle("GET /r/{room}", index)
	mux.Handle("GET /r/{room}/playback", index)
	mux.Handle("GET /assets/", assets)
	return secure(s.counting(methodProblems(mux)))
}

// ServeHTTP answers a request on the public listener.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Storage tells everybody that edits cannot be saved any more, or that they can again.
func (s *Server) Storage(ok bool) { s.live.Broadcast(storageMessage(ok)) }

// storageMessage is what the page shows above the editor while nothing can be saved.
func storageMessage(ok bool) map[string]any {
	msg := map[string]any{"type": "storage", "writable": ok}
	if !ok {
		msg["message"] = "The server cannot save edits for the moment. What you type is kept in this page and is taken in as soon as it can be saved."
	}
	return msg
}

// Close tells everybody that the server goes away, waits for their sockets and
// writes out the event log. Listeners are closed before it is called.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.live.CloseAll("the server is going away")
	defer func() { s.stopHeart(); <-s.heart.done }()
	done := make(chan struct{})
	go func() { s.sockets.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return errors.Join(errors.New("web sockets were still open at the deadline"), s.events.close(ctx))
	}
	return s.events.close(ctx)
}

// enter counts a socket in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.sockets.Add(1)
	return true
}

// originAllowed lets in clients that are no browser page, our own pages, and
// those the operator named.
func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, allowed := range s.cfg.Origins {
		if strings.EqualFold(allowed, origin) {
			return true
		}
	}
	return false
}

// methodProblems turns the mux's plain answers for a wrong method into problems.
func methodProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		if pattern == "/api/" {
			if allowed := allowedMethods(mux, r); len(allowed) > 0 {
				w.Header().Set("Allow", strings.Join(allowed, ", "))
				writeProblem(w, newProblem(http.StatusMethodNotAllowed, "%s is not for %s: use %s", r.Method, r.URL.Path, strings.Join(allowed, " or ")))
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

func allowedMethods(mux *http.ServeMux, r *http.Request) []string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := mux.Handler(probe); pattern != "/api/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	return allowed
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI)
	return nil
}

func (s *Server) getLanguages(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.cfg.Runner.Languages())
}
