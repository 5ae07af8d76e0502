package link

import (
	"crypto/hmac"
	"strings"

	"lifeboat/internal/backup"
)

// alphabet is Crockford's base 32: no I, L, O or U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const codeLength = 8 // of 5 bits each

// Code returns the short code of a backup, such as "7KQ2-M0XA", that links with NeedsCode ask for. It derives from
// the link key, so that the command line can show it and nothing has to keep it.
func (s *Service) Code(source backup.Source, id backup.ID) string {
	mac := s.mac("lifeboat code 1", string(source)+"/"+string(id))
	code := make([]byte, codeLength)
	for i := range code {
		code[i] = alphabet[mac[i]&31]
	}
	return string(code[:codeLength/2]) + "-" + string(code[codeLength/2:])
}

func (s *Service) codeMatches(state State, code string) bool {
	return hmac.Equal([]byte(normalize(code)), []byte(normalize(s.Code(state.Source, state.Backup))))
}

// normalize forgives what people do to a code: case, dashes, spaces, and letters that look like digits.
func normalize(code string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ', '\t', '\r', '\n', '\u2010', '\u2011', '\u2013', '\u00a0':
			return -1
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, strings.ToUpper(code))
}
