package runtimeapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// STS is a stand-in shaped like AssumeRole of STS (2011-06-15). AWS_ENDPOINT_URL_STS names it.
type STS struct {
	Roles map[string]Trust // by ARN
	Life  time.Duration    // of the credentials; 0: a quarter of an hour

	mutex   sync.Mutex
	assumed []Assumed
}

// Trust is whom a role is given to, and what it is.
type Trust struct {
	Principal            string // access key of who may assume it; "": anybody
	ExternalID           string // "": none is asked for
	AccessKey, SecretKey string // what it gets
	Token                string // "" as well: the embedded S3 server knows none
}

// Assumed is one role that somebody got.
type Assumed struct {
	Role, Session, Principal string
}

// Assumed returns which roles were given, in order.
func (s *STS) Assumed() []Assumed {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.assumed)
}

// ServeHTTP implements http.Handler. Whatever is wrong with a request, the answer is the same, as that of STS is.
func (s *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRole" {
		refuseSTS(w, http.StatusBadRequest, "InvalidAction", "this STS assumes roles only")
		return
	}
	got := Assumed{Role: r.Form.Get("RoleArn"), Session: r.Form.Get("RoleSessionName"), Principal: AccessKey(r)}
	trust, known := s.Roles[got.Role]
	if !known || trust.ExternalID != "" && trust.ExternalID != r.Form.Get("ExternalId") || trust.Principal != "" && trust.Principal != got.Principal {
		refuseSTS(w, http.StatusForbidden, "AccessDenied", "User: "+got.Principal+" is not authorized to perform: sts:AssumeRole on resource: "+got.Role)
		return
	}
	s.mutex.Lock()
	s.assumed = append(s.assumed, got)
	life := s.Life
	s.mutex.Unlock()
	if life == 0 {
		life = 15 * time.Minute
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
		`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>`+
		`</Credentials></AssumeRoleResult></AssumeRoleResponse>`,
		trust.AccessKey, trust.SecretKey, trust.Token, time.Now().Add(life).UTC().Format(time.RFC3339)) // who asked is gone where it fails
}

func refuseSTS(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, message)
}

// AccessKey returns the access key that a request says it is signed with; "" where it is not signed in its header.
func AccessKey(r *http.Request) string {
	_, after, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(after, "/")
	return key
}
