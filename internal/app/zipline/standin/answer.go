package standin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// complaint is an error as Zipline writes it; the order of its fields is Zipline's.
type complaint struct {
	Text       string `json:"error"`
	Code       int    `json:"code"`
	StatusCode int    `json:"statusCode"`
	Issues     any    `json:"issues,omitempty"`
}

func (c complaint) Error() string { return c.Text }

// fail returns the complaint of a code; the status follows from the code.
func fail(code int, text string) complaint {
	status := map[int]int{1: 400, 2: 401, 3: 403, 4: 404, 5: 413, 6: 500}[code/1000]
	switch code {
	case 9000:
		status = 400
	case 9002:
		status = 404
	}
	return complaint{Text: fmt.Sprintf("E%d: %s", code, text), Code: code, StatusCode: status}
}

var (
	noSession      = fail(2000, "Invalid login session")
	badToken       = fail(2001, "Invalid token")
	adminOnly      = fail(3000, "Admin only")
	notSuperAdmin  = fail(3015, "Not super admin")
	noVersion      = fail(6001, "Failed to fetch version details")
	noSuchFile     = fail(4000, "File not found")
	noSuchFolder   = fail(4001, "Folder not found")
	noSuchUser     = fail(4009, "User not found")
	foreignParent  = fail(3003, "Parent folder does not belong to you")
	notFound       = fail(9002, "Not found")
	folderNotYours = fail(3011, "You do not own this folder")
)

// exception is what an error that nobody expected is answered with: the order of the fields differs.
type exception struct{ message string }

func (e exception) Error() string { return e.message }

func (e exception) answer(w http.ResponseWriter) {
	reply(w, http.StatusInternalServerError, struct {
		Code       int    `json:"code"`
		Error      string `json:"error"`
		StatusCode int    `json:"statusCode"`
	}{9000, "E9000: Internal Server Error", 500})
}

// issue is one problem of a query or body, as Fastify's validator writes it.
type issue struct {
	Keyword      string         `json:"keyword"`
	InstancePath string         `json:"instancePath"`
	SchemaPath   string         `json:"schemaPath"`
	Message      string         `json:"message"`
	Params       map[string]any `json:"params"`
}

// invalid are the problems of one part of a request: "body" or "querystring".
type invalid struct {
	part   string
	issues []issue
}

func (v invalid) Error() string {
	texts := make([]string, len(v.issues))
	for i, problem := range v.issues {
		texts[i] = v.part + problem.InstancePath + " " + problem.Message
	}
	return strings.Join(texts, ", ")
}

func (v invalid) answer(w http.ResponseWriter) {
	reply(w, http.StatusBadRequest, struct {
		Error      string  `json:"error"`
		StatusCode int     `json:"statusCode"`
		Code       int     `json:"code"`
		Issues     []issue `json:"issues"`
	}{v.Error(), 400, 1000, v.issues})
}

// refusal is an error of the web framework, which has no code.
type refusal struct {
	Text       string `json:"error"`
	StatusCode int    `json:"statusCode"`
}

func (r refusal) Error() string { return r.Text }

// answerError writes an error as Zipline does.
func answerError(w http.ResponseWriter, err error) {
	switch err := err.(type) { // made by this package, never wrapped
	case complaint:
		reply(w, err.StatusCode, err)
	case invalid:
		err.answer(w)
	case refusal:
		reply(w, err.StatusCode, err)
	case oddAnswer:
		err.answer(w)
	case exception:
		err.answer(w)
	default:
		exception{err.Error()}.answer(w)
	}
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
