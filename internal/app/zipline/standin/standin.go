// Package standin is a Zipline for tests, for `lifeboat demo` and as the throw-away target of `lifeboat drill`.
//
// A Server is either a stateful instance with a Database, whose import loses what the real one's loses, or a server that
// exports what Options.Export gives and nothing else.
//
// Tests replay recorded answers of a real Zipline 4.6.3: imports, exports and counts, who am I, users, the lists of folders,
// files, tags, URLs and invites, changes of folders and settings, refusals and rate limits. The rest follows the rules of
// that version's source as described, without a recording: deleting, uploads, changes of users, files, tags and URLs. Not
// there: logins and sessions, chunked uploads, ZIPs of users and folders. Passwords are never checked. The import of exports
// of Zipline 3 follows Zipline's source too.
//
// An Instance is a small made-up Zipline: an export and the objects that belong to it, the same on every machine.
package standin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The tokens that a Server with Options.Export accepts, by the role of their user. SuperAdminToken is also the default
// of Options.Token.
const (
	SuperAdminToken = "stand-in-token-of-the-superadmin"
	AdminToken      = "stand-in-token-of-an-admin"
	UserToken       = "stand-in-token-of-a-user"
)

// Options say what a Server is. The zero value: an empty Zipline 4.6.3 whose SUPERADMIN is "admin" with SuperAdminToken.
type Options struct {
	// Database holds the instance. Nil without Export: a new one, with the SUPERADMIN Admin (default "admin") and Token
	// (default SuperAdminToken).
	Database     *Database
	Admin, Token string
	// Export returns the server's full export, with metrics; it is called for each request, and must be safe for
	// concurrent use. Only request.date is replaced. Such a server has no Database and can't be written to.
	Export func() []byte
	// OwnerlessURLs is how many URLs more Zipline counts than Export has.
	OwnerlessURLs int
	// Datasource is the folder of the objects; "": uploads are refused, and deleting a file deletes its row only.
	Datasource string
	// Storage is what the status says of the local datasource.
	Storage Storage
	// Version is the version whose rules are followed; "": V463.
	Version Version
	// NoRateLimits answers however fast requests come. The headers of the limits stay.
	NoRateLimits bool
	// CPUs bounds one setting; 0: 2. Paths are the files and folders that settings may name. Themes are those that the
	// instance has besides the built-in ones. Tampered are the settings that its environment overrides.
	CPUs                    int
	Paths, Themes, Tampered []string
	// Fault says what goes wrong with the n-th request, counted from 1; nil: nothing. It may be called concurrently.
	Fault func(n int, r *http.Request) Fault
	// Now is the server's clock; nil: time.Now.
	Now func() time.Time
}

// Storage is the disk of a local datasource, in bytes.
type Storage struct {
	Used      int64  `json:"used"`
	Total     int64  `json:"total"`
	Available int64  `json:"available"`
	Path      string `json:"path"`
}

// Server is an http.Handler, safe for concurrent use.
type Server struct {
	options  Options
	database *Database // nil with Options.Export
	mux      *http.ServeMux
	limiter  limiter
	requests atomic.Int64
}

// New returns a server.
func New(options Options) *Server {
	s := &Server{options: withDefaults(options), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /api/healthcheck", s.healthcheck)
	s.mux.HandleFunc("/api/", s.noRoute)
	s.mux.HandleFunc("/", s.page)
	if options.Export != nil {
		s.mux.HandleFunc("GET /api/server/export", s.replayExport)
		s.mux.HandleFunc("GET /api/server/status", s.replayStatus)
		s.mux.HandleFunc("GET /api/version", s.replayVersion)
		return s
	}
	s.database = options.Database
	if s.database == nil {
		s.database = NewDatabase(s.options.Admin, s.options.Token)
	}
	s.register()
	return s
}

func withDefaults(options Options) Options {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Version == "" {
		options.Version = V463
	}
	if options.CPUs == 0 {
		options.CPUs = 2
	}
	if options.Admin == "" {
		options.Admin = "admin"
	}
	if options.Token == "" {
		options.Token = SuperAdminToken
	}
	return options
}

// register adds the routes of an instance with tables.
func (s *Server) register() {
	for _, routes := range [][]route{
		serverRoutes(s.options.Version), publicRoutes, userRoutes, folderRoutes, fileRoutes, tagRoutes, urlRoutes, inviteRoutes, settingsRoutes,
	} {
		for _, rt := range routes {
			s.mux.HandleFunc(rt.pattern, s.serveRoute(rt))
		}
	}
	s.mux.HandleFunc("POST /api/upload", s.upload)
	s.mux.HandleFunc("GET /raw/{name...}", s.raw)
}

// serverRoutes are the calls that concern the whole instance.
func serverRoutes(version Version) []route {
	flags := object(field{"nometrics", queryFlag}, field{"counts", queryFlag})
	exporter := superAdmin
	if version == V442 {
		flags, exporter = nil, admin
	}
	routes := []route{
		{pattern: "GET /api/server/export", least: exporter, query: flags, run: exportRoute},
		{pattern: "POST " + importPath, least: superAdmin, seconds: 5, body: importBody, large: true, run: importV4},
		{pattern: "POST " + import3Path, least: superAdmin, seconds: 5, body: import3Body, run: importV3},
		{pattern: "GET /api/version", least: user, run: func(*call) (any, error) { return nil, noVersion }},
	}
	if version != V442 {
		routes = append(routes, route{pattern: "GET /api/server/status", least: admin, run: func(c *call) (any, error) {
			return status{"local", c.s.options.Storage}, nil
		}})
	}
	return routes
}

// Database returns the instance's database; nil with Options.Export.
func (s *Server) Database() *Database { return s.database }

// Requests returns how many requests have come.
func (s *Server) Requests() int { return int(s.requests.Load()) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(s.requests.Add(1))
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Date", s.options.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Keep-Alive", "timeout=72")
	fault := Fault{}
	if s.options.Fault != nil {
		fault = s.options.Fault(n, r)
	}
	s.serve(w, r, fault)
}

type faultKey struct{}

// handle serves a request whose connection holds.
func (s *Server) handle(w http.ResponseWriter, r *http.Request, fault Fault) {
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), faultKey{}, fault)))
}

func faultOf(r *http.Request) Fault {
	fault, _ := r.Context().Value(faultKey{}).(Fault)
	return fault
}

type status struct {
	Datasource string  `json:"datasource"`
	Storage    Storage `json:"storage"`
}

func (s *Server) healthcheck(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]bool{"pass": true})
}

func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusNotFound, struct {
		Message    string `json:"message"`
		Error      string `json:"error"`
		StatusCode int    `json:"statusCode"`
	}{"Route " + r.Method + ":" + r.URL.RequestURI() + " not found", "Not Found", 404})
}

// page is what every other path answers: the front end, with 404 below the routes of files.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	const text = "<!doctype html><title>zipline (no front end in this run)</title>\n"
	status := http.StatusOK
	if strings.HasPrefix(r.URL.Path, "/raw/") || strings.HasPrefix(r.URL.Path, "/u/") {
		status = http.StatusNotFound
	}
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Cache-Control", "public, max-age=0")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client is gone: nobody to tell
}
