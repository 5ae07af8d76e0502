package standin

import (
	"encoding/json"
	"net/http"
)

// authorize answers a request to a server with Options.Export that has no right to go on, and reports whether it has.
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

// replayExport answers the export that Options.Export gives.
func (s *Server) replayExport(w http.ResponseWriter, r *http.Request) {
	flags := object(field{"nometrics", queryFlag}, field{"counts", queryFlag})
	if problems := flags(query(r), true, ""); len(problems) > 0 {
		invalid{"querystring", problems}.answer(w)
		return
	}
	if !authorize(w, r, superAdmin) {
		return
	}
	var e Export
	if err := json.Unmarshal(s.options.Export(), &e); err != nil {
		reply(w, http.StatusInternalServerError, complaint{Text: "E9000: Internal Server Error", Code: 9000, StatusCode: 500})
		return
	}
	parameters := r.URL.Query()
	if parameters.Get("counts") == "true" {
		reply(w, http.StatusOK, e.Counts(s.options.OwnerlessURLs))
		return
	}
	s.answerExport(w, e, parameters.Has("nometrics"))
}

func (s *Server) replayStatus(w http.ResponseWriter, r *http.Request) {
	if authorize(w, r, admin) {
		reply(w, http.StatusOK, status{"local", s.options.Storage})
	}
}

// replayVersion answers as a Zipline that can't reach the internet.
func (s *Server) replayVersion(w http.ResponseWriter, r *http.Request) {
	if authorize(w, r, user) {
		refuse(w, noVersion)
	}
}
