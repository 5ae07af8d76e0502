// Package standin is a Zipline 4.6.3 for tests and for `lifeboat demo`, as far as a backup needs one.
//
// A Server answers the calls of a backup exactly as the recorded answers of a real Zipline: status, headers, body and
// faults. A test holds it against those recordings. An Instance is a small made-up Zipline: an export and the
// objects that belong to it, the same on every machine.
package standin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The tokens that a Server accepts, by the role of their user.
const (
	SuperAdminToken = "stand-in-token-of-the-superadmin"
	AdminToken      = "stand-in-token-of-an-admin"
	UserToken       = "stand-in-token-of-a-user"
)

// Options say what a Server answers.
type Options struct {
	// Export returns the server's full export, with metrics; it is called for each request, and must be safe for
	// concurrent use. Only request.date is replaced.
	Export func() []byte
	// OwnerlessURLs is how many URLs more Zipline counts than it exports.
	OwnerlessURLs int
	// Storage is what the status says of the local datasource.
	Storage Storage
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
	options Options
	mux     *http.ServeMux
}

// New returns a server.
func New(options Options) *Server {
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &Server{options: options, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /api/server/export", s.export)
	s.mux.HandleFunc("GET /api/server/status", s.status)
	s.mux.HandleFunc("GET /api/healthcheck", s.healthcheck)
	s.mux.HandleFunc("GET /api/version", s.version)
	s.mux.HandleFunc("/api/", s.noRoute)
	s.mux.HandleFunc("/", s.page)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Date", s.options.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Keep-Alive", "timeout=72")
	s.mux.ServeHTTP(w, r)
}

// role is what a token's user may do.
type role int

const (
	nobody role = iota
	user
	admin
	superAdmin
)

// complaint is an error as Zipline writes it; the order of its fields is Zipline's.
type complaint struct {
	Error      string `json:"error"`
	Code       int    `json:"code"`
	StatusCode int    `json:"statusCode"`
}

var (
	noSession     = complaint{"E2000: Invalid login session", 2000, 401}
	badToken      = complaint{"E2001: Invalid token", 2001, 401}
	adminOnly     = complaint{"E3000: Admin only", 3000, 403}
	notSuperAdmin = complaint{"E3015: Not super admin", 3015, 403}
	noVersion     = complaint{"E6001: Failed to fetch version details", 6001, 500}
)

// authorize answers a request without the right to go on, and reports whether it may.
func authorize(w http.ResponseWriter, r *http.Request, least role) bool {
	header := r.Header.Get("Authorization")
	has := map[string]role{SuperAdminToken: superAdmin, AdminToken: admin, UserToken: user}[header]
	switch {
	case header == "":
		refuse(w, noSession)
	case has == nobody:
		refuse(w, badToken)
	case has < min(least, admin):
		refuse(w, adminOnly)
	case has < least:
		refuse(w, notSuperAdmin)
	default:
		return true
	}
	return false
}

func refuse(w http.ResponseWriter, c complaint) { reply(w, c.StatusCode, c) }

// reply writes compact JSON without a newline and without escaping < > &, as Node does.
func reply(w http.ResponseWriter, status int, body any) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client is gone: nobody to tell
}

// issue is one problem of a query.
type issue struct {
	Keyword      string `json:"keyword"`
	InstancePath string `json:"instancePath"`
	SchemaPath   string `json:"schemaPath"`
	Message      string `json:"message"`
	Params       struct {
		Values []string `json:"values"`
	} `json:"params"`
}

// checkQuery answers a query that is not valid: each parameter is exactly true or false.
func checkQuery(w http.ResponseWriter, r *http.Request) bool {
	words := []string{"true", "false"}
	for _, name := range []string{"nometrics", "counts"} {
		values, given := r.URL.Query()[name]
		if !given || slices.Contains(words, values[0]) {
			continue
		}
		problem := issue{
			Keyword: "invalid_value", InstancePath: "/" + name, SchemaPath: "#/" + name + "/invalid_value",
			Message: `Invalid option: expected one of "true"|"false"`,
		}
		problem.Params.Values = words
		reply(w, http.StatusBadRequest, struct {
			Error      string  `json:"error"`
			StatusCode int     `json:"statusCode"`
			Code       int     `json:"code"`
			Issues     []issue `json:"issues"`
		}{"querystring" + problem.InstancePath + " " + problem.Message, 400, 1000, []issue{problem}})
		return false
	}
	return true
}

func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	if !checkQuery(w, r) || !authorize(w, r, superAdmin) { // Fastify validates first (inferred, not recorded)
		return
	}
	query := r.URL.Query()
	var e Export
	if err := json.Unmarshal(s.options.Export(), &e); err != nil {
		reply(w, 500, complaint{"E9000: Internal Server Error", 9000, 500})
		return
	}
	if query.Get("counts") == "true" {
		reply(w, http.StatusOK, e.Counts(s.options.OwnerlessURLs))
		return
	}
	if query.Has("nometrics") { // a fault of Zipline: nometrics=false drops them too
		e.Data.Metrics = []json.RawMessage{}
	}
	now := s.options.Now().UTC()
	e.Request.Date = now.Format("2006-01-02T15:04:05.000Z")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=zipline4_export_%d.json", now.UnixMilli()))
	reply(w, http.StatusOK, e)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	if authorize(w, r, admin) {
		reply(w, http.StatusOK, struct {
			Datasource string  `json:"datasource"`
			Storage    Storage `json:"storage"`
		}{"local", s.options.Storage})
	}
}

func (s *Server) healthcheck(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]bool{"pass": true})
}

// version answers as a Zipline that can't reach the internet.
func (s *Server) version(w http.ResponseWriter, r *http.Request) {
	if authorize(w, r, user) {
		refuse(w, noVersion)
	}
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
	_, _ = w.Write([]byte(text))
}
