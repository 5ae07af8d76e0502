package netguard_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
)

// refusedAddresses are refused by their text alone.
var refusedAddresses = []string{
	// Other schemes, and none.
	"", "http://example.com/", "HTTP://example.com/", "ftp://example.com/a.zip", "file:///etc/passwd", "file://example.com/etc/passwd",
	"gopher://example.com/", "data:application/zip;base64,UEsFBg==", "javascript:alert(1)", "//example.com/a.zip", "example.com/a.zip", "https:example.com",
	"https:/example.com", "https:///a.zip", "https://", "https://:443/", "jar:https://example.com!/", "ldap://example.com/", "unix:///run/docker.sock",
	// A user.
	"https://user@example.com/", "https://user:secret@example.com/", "https://@example.com/", "https://example.com@127.0.0.1/", "https://example.com%2f@127.0.0.1/",
	// Other ports.
	"https://example.com:8443/", "https://example.com:22/", "https://example.com:80/", "https://example.com:0/", "https://example.com:/", "https://example.com:0443/",
	"https://example.com:65536/", "https://example.com:-1/", "https://example.com:https/",
	// This machine and private networks, as they are usually written.
	"https://127.0.0.1/", "https://127.8.8.8/", "https://127.0.0.1:9001/2018-06-01/runtime/invocation/next", "https://0.0.0.0/", "https://0.1.2.3/", "https://10.0.0.1/",
	"https://172.16.0.1/", "https://172.31.255.254/", "https://192.168.1.1/", "https://100.64.0.1/", "https://100.100.100.200/", "https://169.254.169.254/latest/meta-data/",
	"https://169.254.170.2/v2/credentials", "https://169.254.170.23/v1/credentials", "https://168.63.129.16/", "https://192.0.0.192/", "https://192.0.2.1/", "https://192.88.99.1/",
	"https://198.18.0.1/", "https://198.19.255.255/", "https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/", "https://239.255.255.250/", "https://240.0.0.1/", "https://255.255.255.255/",
	// IPv4 written otherwise.
	"https://2130706433/", "https://017700000001/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0X7F.0.0.1/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.1/", "https://0/", "https://10.1/",
	"https://127.0.0.01/", "https://127.0.0.0x1/", "https://127.0.0.1./", "https://127.0.0.256/", "https://127.0.0.1.2/", "https://0251.0376.0251.0376/", "https://2852039166/", "https://93.184.216.034/", "https://1572395042/", "https://0x/",
	// IPv6.
	"https://[::1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::]/", "https://[::127.0.0.1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[0:0:0:0:0:ffff:a9fe:a9fe]/", "https://[::ffff:93.184.216.34]/",
	"https://[64:ff9b::7f00:1]/", "https://[64:ff9b::169.254.169.254]/", "https://[64:ff9b:1::a00:1]/", "https://[2002:7f00:1::]/", "https://[2001:0:1::1]/", "https://[2001:2::1]/", "https://[2001:10::1]/", "https://[2001:db8::1]/",
	"https://[3fff::1]/", "https://[100::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[fd00:ec2::23]/", "https://[fd20:ce::254]/", "https://[fd12:3456::1]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/",
	"https://[2606:2800::1%25eth0]/", "https://[::1%25lo]/", "https://[fec0::1]/", "https://[ff02::1]/", "https://[5f00::1]/", "https://[4000::1]/", "https://[127.0.0.1]/", "https://[::1/", "https://::1/", "https://[]/", "https://[v1.a]/",
	// Names that are none, or of no public server.
	"https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://files/", "https://example.com./", "https://.example.com/", "https://exa..mple.com/", "https://a.localhost/", "https://printer.local/",
	"https://metadata.google.internal/computeMetadata/v1/", "https://instance-data.ec2.internal/", "https://nas.home.arpa/", "https://" + strings.Repeat("a", 64) + ".example.com/", "https://" + strings.Repeat("a.", 130) + "com/",
	// Letters and signs that some programs take for others.
	"https://１２７.0.0.1/", "https://①②⑦.0.0.1/", "https://127。0。0。1/", "https://ⓛocalhost.example.com/", "https://exämple.com/", "https://%6c%6f%63alhost/", "https://%31%32%37.0.0.1/", "https://example%2ecom/", "https://%EF%BC%91.example.com/",
	"https://example.com\\@127.0.0.1/", "https:\\\\127.0.0.1\\", "https://example.com\t.evil/", "https://example.com\r\nHost: 127.0.0.1/", " https://example.com/", "https://example.com/ ", "https://exam\x00ple.com/", "https://a,b.example.com/",
	"https://127.0.0.1#@example.com/", "https://127.0.0.1?@example.com/", "https://" + strings.Repeat("a", 9<<10) + ".com/",
}

// refusedIPs are what a name must not resolve to.
var refusedIPs = []string{
	"0.0.0.0", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.0", "100.127.255.255", "100.100.100.200", "127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.170.23",
	"172.16.0.0", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.255", "192.31.196.1", "192.52.193.1", "192.88.99.255", "192.168.0.0", "192.168.255.255", "192.175.48.1", "198.18.0.0", "198.19.255.255", "198.51.100.255",
	"203.0.113.255", "224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::8.8.8.8", "64:ff9b::a00:1",
	"64:ff9b:1::1", "100::1", "2001::1", "2001:0:5ef5:79fb::1", "2001:1::1", "2001:2::1", "2001:20::1", "2001:1ff:ffff::1", "2001:db8::1", "2002:a00:1::1", "2002:5db8:d822::1", "2620:4f:8000::1", "3fff:fff::1", "4000::1", "5f00::1",
	"fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1", "ff02::1", "2606:2800:220::1%eth0",
}

// TestRefused gives a client each address, as text and as what a name resolves to. None is dialled, all refusals are
// one, and none quotes the address.
func TestRefused(t *testing.T) {
	if n := len(refusedAddresses) + len(refusedIPs); n < 70 {
		t.Fatalf("the table has %d rows", n)
	}
	var answers []netip.Addr
	resolved := 0
	client := netguard.New(netguard.Rules{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		resolved++
		return answers, nil
	}})
	netguard.Rewire(client, func(to netip.AddrPort) netip.AddrPort {
		t.Errorf("%s is dialled", to)
		return netip.MustParseAddrPort("127.0.0.1:1")
	})
	for _, address := range refusedAddresses {
		t.Run(address, func(t *testing.T) {
			wantRefused(t, address, client.Check(address))
			_, err := client.Get(t.Context(), address, nil)
			wantRefused(t, address, err)
			if resolved > 0 {
				t.Error("its name was resolved")
			}
		})
	}
	for _, text := range refusedIPs {
		t.Run("a name with "+text, func(t *testing.T) {
			ip := netip.MustParseAddr(text)
			if netguard.Public(ip) {
				t.Error("it counts as public")
			}
			answers = []netip.Addr{ip}
			address := "https://files.example.com/a.zip?token=hunter2"
			_, err := client.Get(t.Context(), address, nil)
			wantRefused(t, address, err)
			if resolved == 0 {
				t.Error("the name was not resolved")
			}
		})
	}
}

func wantRefused(t *testing.T, address string, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("not refused")
	}
	if err.Error() != netguard.Refused || failure.KindOf(err) != failure.Denied || failure.HintOf(err) != netguard.HintFor(address) {
		t.Errorf("another error than the one refusal: %v: %v (%s)", failure.KindOf(err), err, failure.HintOf(err))
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if e.Error() != netguard.Refused {
			t.Errorf("the refusal holds %q", e)
		}
	}
}

// TestHint: the hint of a refusal has the very entry that allows the host of the address, and nothing else of it.
func TestHint(t *testing.T) {
	client := netguard.New(netguard.Rules{})
	for address, want := range map[string]string{
		"http://192.168.1.5:9000/a.zip?token=hunter2": `"http://192.168.1.5:9000"`, "https://10.0.0.5/secret/a.zip": `"https://10.0.0.5:443"`,
		"http://NAS.lan/a.zip#hunter2": `"http://nas.lan:80"`, "https://[fd00:0::7]:8443/": `"https://[fd00::7]:8443"`,
		"http://me:hunter2@nas.lan/": "HOST", "ftp://nas.lan/": "HOST", "http://0x7f.1/": "HOST", "no address": "HOST",
	} {
		hint := failure.HintOf(client.Check(address))
		if !strings.Contains(hint, "fetch: {allow: ["+want+"]}") || strings.Contains(hint, "hunter2") || strings.Contains(hint, "a.zip") {
			t.Errorf("%s: %s", address, hint)
		}
		if want == "HOST" {
			continue
		}
		if err := netguard.New(netguard.Rules{Allow: allowed(t, strings.Trim(want, `"`))}).Check(address); err != nil {
			t.Errorf("%s: the entry does not allow it: %v", address, err)
		}
	}
}

func TestPublic(t *testing.T) {
	for _, text := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
		"191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2606:2800:220:1::1", "2a00:1450::1", "2003::1", "3ffe::1",
	} {
		if !netguard.Public(netip.MustParseAddr(text)) {
			t.Errorf("%s counts as not public", text)
		}
	}
	if netguard.Public(netip.Addr{}) {
		t.Error("no address counts as public")
	}
}

// TestCheck lets through what is usual, and what the configuration allows.
func TestCheck(t *testing.T) {
	client := netguard.New(netguard.Rules{Allow: allowed(t, "files.lan:8443", "http://127.0.0.1:9000", "localhost", "10.1.2.3", "http://[fd00:0::7]:80")})
	for _, address := range []string{
		"https://example.com", "https://example.com/a.zip", "https://EXAMPLE.com:443/a%20b.zip?X-Amz-Signature=abc%2F#part", "HTTPS://sub_domain.xn--exmple-cua.com/?a=b@c", "https://93.184.216.34/a.zip", "https://[2606:2800:220:1::1]:443/",
		"https://files.lan:8443/a", "https://FILES.lan:8443/a", "http://127.0.0.1:9000/a", "https://localhost/", "https://10.1.2.3/", "http://[fd00::7]/", "http://[FD00:0:0::7]:80/", "https://0x7f.example.com/", "https://127.0.0.1.example.com/",
	} {
		if err := client.Check(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{
		"http://files.lan:8443/", "https://files.lan:8444/", "https://a.files.lan:8443/.", "https://127.0.0.1:9000/", "http://127.0.0.1/", "http://127.0.0.2:9000/", "http://localhost/", "https://user@files.lan:8443/", "https://files.lan.:8443/",
		"http://0x7f.0.0.1:9000/", "http://[::ffff:127.0.0.1]:9000/", "https://[fd00::7]/",
	} {
		if client.Check(address) == nil {
			t.Errorf("%s is let through", address)
		}
	}
}

func allowed(t *testing.T, texts ...string) []netguard.Allowed {
	t.Helper()
	var list []netguard.Allowed
	for _, text := range texts {
		a, err := netguard.ParseAllowed(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		list = append(list, a)
	}
	return list
}

func TestParseAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"files.lan": "https://files.lan:443", "Files.LAN:8443": "https://files.lan:8443", "http://127.0.0.1:9000": "http://127.0.0.1:9000", "http://nas": "http://nas:80",
		"https://nas:443": "https://nas:443", "[::1]:9000": "https://[::1]:9000", "http://[FD00:0::7]": "http://[fd00::7]:80",
	} {
		got, err := netguard.ParseAllowed(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
		again, err := netguard.ParseAllowed(got.String())
		if diff := cmp.Diff(got, again); diff != "" || err != nil {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
	for _, text := range []string{
		"", "*", "*.lan", "ftp://nas", "nas/", "nas/folder", "user:hunter2@nas", "nas?x=hunter2", "nas:", "nas:port", "nas:70000", "nas#x", "127.1", "0x7f.1", "::1", "[::1", "[fe80::1%25eth0]", "[::ffff:10.0.0.1]", "10.0.0.0/8", "nas.", "näs", "a b", "http://",
	} {
		if got, err := netguard.ParseAllowed(text); failure.KindOf(err) != failure.Usage || failure.HintOf(err) == "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.com/a%2Fb%20c.zip?X-Amz-Signature=hunter2#hunter2": "https://example.com/a%2Fb%20c.zip",
		"https://user:hunter2@example.com:8443/a":                           "https://example.com:8443/a",
		"https://example.com?hunter2":                                       "https://example.com",
		"https://example.com/\x1b[31m":                                      "(no address)",
		"hunter2":                                                           "(no address)",
		"data:hunter2":                                                      "(no address)",
		"":                                                                  "(no address)",
	} {
		if got := netguard.Redact(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, address := range refusedAddresses {
		f.Add(address)
	}
	f.Add("https://example.com/a.zip?token=1")
	client := netguard.New(netguard.Rules{})
	f.Fuzz(func(t *testing.T, address string) {
		if client.Check(address) != nil {
			return
		}
		host, found := strings.CutPrefix(strings.ToLower(netguard.Redact(address)), "https://")
		host, _, _ = strings.Cut(host, "/")
		host = strings.TrimSuffix(host, ":443")
		if !found || host == "" || strings.ContainsAny(host, "@%\\ ") {
			t.Fatalf("%q passes as %q", address, host)
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); ip != nil && !netguard.Public(netip.MustParseAddr(strings.Trim(host, "[]"))) {
			t.Fatalf("%q passes", address)
		}
	})
}

// TestOutside: what no public server has, in every spelling that a program may take.
func TestOutside(t *testing.T) {
	type answer struct {
		what string // a part of it
		self bool
	}
	for host, want := range map[string]answer{
		"example.com": {}, "1.1.1.1": {}, "2606:4700:4700::1111": {}, "lan.example.com": {}, "localhost.example.com": {}, "notlocalhost.com": {}, "example.com.": {}, "box": {"without a dot", false},
		"localhost": {"this machine", true}, "LocalHost.": {"this machine", true}, "app.localhost": {"this machine", true}, "localhost.localdomain": {"this machine", true},
		"127.0.0.1": {"this machine", true}, "127.8.8.8": {"this machine", true}, "::1": {"this machine", true}, "::ffff:127.0.0.1": {"this machine", true}, "0.0.0.0": {"this network", true}, "::": {"unspecified", true},
		"127.1": {"odd way", false}, "0x7f.0.0.1": {"odd way", false}, "2130706433": {"odd way", false}, "0177.0.0.1": {"odd way", false}, "127.0.0.0x1": {"odd way", false}, "1.2.3.4.5": {"odd way", false},
		"0.1.2.3": {"this network", false}, "224.0.0.1": {"multicast", false}, "198.18.0.1": {"benchmarks", false}, "255.255.255.255": {"reserved", false}, "64:ff9b::7f00:1": {"NAT64", false}, "2002:7f00:1::": {"6to4", false},
		"192.0.2.1": {"documentation", false}, "4000::1": {"reserved", false}, "10.0.0.5": {"a private address", false}, "100.100.1.1": {"a private address", false}, "169.254.1.1": {"a private address", false}, "fd00::1": {"a private address", false},
		"fe80::1%eth0": {"a private address", false}, "nas": {"without a dot", false}, "nas.local": {"own network", false}, "fritz.box": {"own network", false}, "a.FRITZ.box": {"own network", false}, "nas.localdomain": {"own network", false},
		"a.intranet": {"own network", false}, "a.corp": {"own network", false}, "a.home": {"own network", false}, "a.test": {"own network", false}, "a.invalid": {"own network", false}, "a.home.arpa": {"own network", false}, "a.lan": {"own network", false},
	} {
		what, self := netguard.Outside(host)
		if self != want.self || (what == "") != (want.what == "") || !strings.Contains(what, want.what) {
			t.Errorf("%s: %q, itself: %t; want %q, %t", host, what, self, want.what, want.self)
		}
	}
}
