package netguard

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"lifeboat/internal/failure"
)

// Allowed is a host that the configuration lets through although it is private, on another port or without TLS. An
// address must have all three as they stand here.
type Allowed struct {
	Scheme string // "https" or "http"
	Host   string // a name in lower case, or an IP address without brackets
	Port   string
}

// ParseAllowed reads [http://|https://]HOST[:PORT], where HOST is a name or an IP address. The error is of kind Usage.
func ParseAllowed(text string) (Allowed, error) {
	address := text
	if !strings.Contains(text, "://") {
		address = "https://" + text
	}
	u, err := parse(address)
	wrong := func(what string) (Allowed, error) {
		return Allowed{}, failure.New(failure.Usage, "no host can be allowed like this: %s", what).
			WithHint("write a host, with a port where it is not the usual one, such as files.lan, files.lan:8443, http://192.0.2.7:9000")
	}
	switch {
	case err != nil:
		return wrong(err.Error())
	case u.Scheme != "https" && u.Scheme != "http":
		return wrong("it is neither https nor http")
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return wrong("only a host is allowed, never a part of it")
	}
	return Allowed{u.Scheme, canonical(u.Hostname()), port(u)}, nil
}

// String returns the text that ParseAllowed reads.
func (a Allowed) String() string {
	host := a.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return a.Scheme + "://" + host + ":" + a.Port
}

// allows reports whether the configuration lets a host through; with any scheme where it is empty.
func (r Rules) allows(scheme, host, port string) bool {
	return slices.ContainsFunc(r.Allow, func(a Allowed) bool {
		return (scheme == "" || a.Scheme == scheme) && a.Host == canonical(host) && a.Port == port
	})
}

// canonical returns a host in the spelling of Allowed.
func canonical(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return strings.ToLower(host)
}

// Redact returns an address for records: scheme, host and path. What follows "?" and who stands before "@" are
// secrets.
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Host == "" {
		return "(no address)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// host returns the host of an address with its port, for the log.
func host(u *url.URL) string {
	name := u.Hostname()
	return name[:min(len(name), 253)] + ":" + port(u)
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

// maxAddress bounds an address, in bytes; presigned ones with a session token have about 2,000.
const maxAddress = 8 << 10

// parse reads an address in the one notation that we take. Its errors never quote it.
func parse(address string) (*url.URL, error) {
	if len(address) > maxAddress {
		return nil, blocked("the address is too long")
	}
	for i := range len(address) {
		if c := address[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, blocked("the address has characters that need encoding")
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, blocked("it is no address")
	}
	if err := wellFormed(u); err != nil {
		return nil, err
	}
	return u, nil
}

func wellFormed(u *url.URL) error {
	name := u.Hostname()
	switch {
	case u.Opaque != "" || name == "":
		return blocked("it has no host")
	case u.User != nil:
		return blocked("it has a user")
	case strings.HasSuffix(u.Host, ":") || oddPort(u.Port()):
		return blocked("its port is written in an odd way")
	case strings.HasPrefix(u.Host, "["):
		ip, err := netip.ParseAddr(name)
		if err != nil || ip.Zone() != "" || !ip.Is6() || ip.Is4In6() {
			return blocked("its IPv6 address is written in an odd way")
		}
	case numeric(name[strings.LastIndexByte(name, '.')+1:]):
		ip, err := netip.ParseAddr(name) // knows no octal, hexadecimal or short form
		if err != nil || ip.String() != name {
			return blocked("its IPv4 address is written in an odd way")
		}
	default:
		return hostName(name)
	}
	return nil
}

func oddPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port != "" && (err != nil || strconv.FormatUint(n, 10) != port || n == 0)
}

// numeric reports whether a program may take the last label of a host as a part of an IPv4 address.
func numeric(label string) bool {
	hex := strings.ToLower(label)
	if strings.HasPrefix(hex, "0x") {
		return strings.Trim(hex[2:], "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func hostName(name string) error {
	if len(name) > 253 {
		return blocked("its host is too long")
	}
	for label := range strings.SplitSeq(strings.ToLower(name), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return blocked("its host is no name of ASCII letters, digits and hyphens")
		}
	}
	return nil
}

// private are the last labels of names that no public server has (RFC 6761, 6762 with its appendix G, 7686, 8375, 9476;
// ICANN for internal, corp, home and mail). The rest is what routers call their own networks.
var private = []string{
	"localhost", "local", "internal", "home.arpa", "test", "invalid", "example", "onion", "alt",
	"corp", "home", "mail", "lan", "intranet", "private", "localdomain", "fritz.box",
}

// Outside says in words what a host is that no server of the public internet has, a name or an IP address without brackets;
// "" where one may: what a name resolves to is not looked at. self says that it is the machine that asks. An IPv4 address
// in a notation that some programs take and others don't is outside, whatever it stands for.
func Outside(host string) (what string, self bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		ip = ip.Unmap().WithZone("")
		return outside(ip), ip.IsLoopback() || ip.IsUnspecified()
	case numeric(host[strings.LastIndexByte(host, '.')+1:]):
		return "an IPv4 address that is written in an odd way", false
	case host == "localhost" || host == "localhost.localdomain" || strings.HasSuffix(host, ".localhost"):
		return "a name of this machine", true
	case !strings.Contains(host, "."):
		return "a name without a dot", false
	case privateName(host):
		return "a name of your own network", false
	}
	return "", false
}

func outside(ip netip.Addr) string {
	switch what, _ := class(ip); what {
	case "":
		return ""
	case "private", "link-local", "site-local", "shared by carriers":
		return "a private address"
	default:
		return "an address that the internet does not have (" + what + ")"
	}
}

// privateName reports whether a name in lower case ends like those that no public server has.
func privateName(name string) bool {
	return slices.ContainsFunc(private, func(end string) bool { return strings.HasSuffix("."+name, "."+end) })
}

// check applies the rules to the text of an address.
func (r Rules) check(u *url.URL) error {
	if err := wellFormed(u); err != nil {
		return err
	}
	name := strings.ToLower(u.Hostname())
	switch {
	case r.allows(u.Scheme, name, port(u)):
		return nil
	case u.Scheme != "https":
		return blocked("it is not https but " + scheme(u))
	case port(u) != "443":
		return blocked("its port is not 443")
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return public(ip)
	}
	if !strings.Contains(name, ".") || privateName(name) {
		return blocked("its host is no public name")
	}
	return nil
}
