package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// nonceLife is how long a shown form may be sent.
const nonceLife = 30 * time.Minute

// nonce returns what a form for a token must bring back: the time, and a MAC over time and token. A mail scanner that
// posts without having read the page does not have it.
func (s *server) nonce(token string) string {
	stamp := strconv.FormatInt(s.Now().Unix(), 36)
	return stamp + "." + s.nonceMAC(token, stamp)
}

func (s *server) nonceMAC(token, stamp string) string {
	mac := hmac.New(sha256.New, []byte(s.Links.Key.Reveal()))
	fmt.Fprintf(mac, "lifeboat form 1\n%s\n%s", stamp, token)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *server) nonceValid(token, nonce string) bool {
	stamp, mac, _ := strings.Cut(nonce, ".")
	if !hmac.Equal([]byte(mac), []byte(s.nonceMAC(token, stamp))) {
		return false
	}
	seconds, err := strconv.ParseInt(stamp, 36, 64)
	age := s.Now().Sub(time.Unix(seconds, 0))
	return err == nil && age > -time.Minute && age <= nonceLife
}
