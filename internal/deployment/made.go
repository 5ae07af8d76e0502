package deployment

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// Route is a route of the HTTP API. Scope is what a token must hold, behind the prefix; "" for a route that is open.
type Route struct {
	Key, Scope string
}

// OpenRoutes are the routes that anybody reaches. A token in the path is what lets through; the function looks at it.
var OpenRoutes = []Route{{Key: "GET /l/{token}"}, {Key: "POST /l/{token}"}, {Key: "GET /assets/{name}"}}

// ClosedRoutes are the routes of those who are known: people by a token of their OIDC provider, machines by IAM.
var ClosedRoutes = []Route{
	{"POST /backups", "run"},
	{"GET /backups", "read"},
	{"GET /backups/{id}", "read"},
	{"POST /restores", "restore"},
	{"GET /restores", "read"},
	{"GET /restores/{id}", "read"},
}

// Bounds of what an API takes a second, and at once.
const (
	Rate  = 20
	Burst = 40
)

// WatchEvery is how often the watchdog looks at a source.
const WatchEvery = 15 * time.Minute

// LogsKept is how long logs are kept, in days.
const LogsKept = 90

// Alarm is one of the alarms.
type Alarm struct {
	ID      string `json:"id"`
	Says    string `json:"says"`
	Metrics int    `json:"metrics"` // that it adds up; AWS allows ten, and bills each
}

// Alarms are the alarms of every stack.
var Alarms = []Alarm{
	{"FailedAlarm", "a backup or a restore has failed.", 6},
	{"OverdueAlarm", "a source has no good backup that is young enough, or the watchdog is silent.", 1},
	{"UndoneAlarm", "something was started, or should have been, and nobody could.", 3},
	{"DamagedAlarm", "a verification has found a backup damaged.", 1},
	{"ThrottledAlarm", "AWS slows lifeboat down: a quota of the account is too small.", 9},
}

// Queue holds what could not be delivered, or not be done, until somebody looks.
type Queue struct {
	ID   string `json:"id"`
	Says string `json:"says"`
}

// Queues are one for each kind of asynchronous edge.
var Queues = []Queue{
	{"UndeliveredSchedules", "what a schedule could not start"},
	{"UndeliveredEvents", "events about runs that reached nobody"},
	{"UnansweredEvents", "events that a function could not answer"},
}

// ID makes of a name of lifeboat.yaml the id of something of the stack: photos becomes Photos. Two names never give the
// same: one with a dash gets a digest of it.
func ID(name string) string {
	var id strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		if word != "" {
			id.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	if strings.Contains(name, "-") {
		sum := sha256.Sum256([]byte(name))
		id.WriteString(strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:5]))
	}
	return id.String()
}
