package netguard_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/internal/failure"
	"lifeboat/internal/netguard"
)

// world is an internet on loopback: names with changing addresses, one server that plays all public ones, and one that
// nobody may reach.
type world struct {
	t       *testing.T
	mutex   sync.Mutex
	names   map[string][]string         // each look-up of a name takes the next answer; the last one stays
	asked   []string                    // requests that the public server got: host and path
	headers []http.Header               // of these requests
	routes  map[string]http.HandlerFunc // by host and path
	public  *httptest.Server
	private *httptest.Server
	reached atomic.Int32 // connections to the private server
	oldTLS  atomic.Bool
	audit   bytes.Buffer
	rules   netguard.Rules
}

const secrets = "/hunter2.zip?token=hunter2"

func newWorld(t *testing.T) *world {
	w := &world{t: t, names: map[string][]string{}, routes: map[string]http.HandlerFunc{}}
	certificate, roots := certify(t, "*.example.com", "*.example.net", "files.lan")
	w.public = httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	w.public.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if !w.oldTLS.Load() {
			return nil, nil
		}
		return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, nil
	}}
	w.public.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w.public.StartTLS()
	t.Cleanup(w.public.Close)
	w.private = httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, "private") }))
	w.private.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			w.reached.Add(1)
		}
	}
	w.private.Start()
	t.Cleanup(w.private.Close)
	w.rules = netguard.Rules{
		Roots: roots, Lookup: w.lookup, Audit: slog.New(slog.NewJSONHandler(&w.audit, nil)),
		Connect: 5 * time.Second, Idle: 5 * time.Second,
	}
	return w
}

// certify returns a certificate for hosts, and a pool that trusts it.
func certify(t *testing.T, hosts ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (w *world) serve(out http.ResponseWriter, r *http.Request) {
	w.mutex.Lock()
	w.asked, w.headers = append(w.asked, r.Host+r.URL.Path), append(w.headers, r.Header)
	route := w.routes[r.Host+r.URL.Path]
	w.mutex.Unlock()
	if route != nil {
		route(out, r)
		return
	}
	fmt.Fprint(out, "public")
}

// requests returns what the public server was asked for so far.
func (w *world) requests() []string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return slices.Clone(w.asked)
}

func (w *world) lookup(_ context.Context, name string) ([]netip.Addr, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	answers := w.names[name]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if len(answers) > 1 {
		w.names[name] = answers[1:]
	}
	if answers[0] == "timeout" {
		return nil, &net.DNSError{Err: "i/o timeout", Name: name, IsTimeout: true}
	}
	var ips []netip.Addr
	for text := range strings.SplitSeq(answers[0], " ") {
		if text != "" {
			ips = append(ips, netip.MustParseAddr(text))
		}
	}
	return ips, nil
}

// client returns a client for whom all public addresses are those of the public server.
func (w *world) client() *netguard.Client {
	c := netguard.New(w.rules)
	netguard.Pretend(c, func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", w.public.Listener.Addr().String())
	})
	w.t.Cleanup(c.Close)
	return c
}

// name sets what a name resolves to, one answer for each time that it is asked for.
func (w *world) name(name string, answers ...string) { w.names[name] = answers }

// route has the public server redirect from one place to another.
func (w *world) route(from, to string) {
	w.routes[from] = func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Location", to)
		out.WriteHeader(http.StatusFound)
	}
}

func portOf(s *httptest.Server) string {
	return netip.MustParseAddrPort(s.Listener.Addr().String()).String()[len("127.0.0.1"):]
}

const (
	somewhere = "93.184.216.34"
	elsewhere = "93.184.216.35"
	start     = "https://a.example.com" + secrets
)

// TestScenarios plays redirects, rebinding and servers that do not answer. Each ends with the one refusal, no request
// comes to the private server, and neither error nor log quotes more of an address than its host.
func TestScenarios(t *testing.T) {
	type scenario struct {
		name    string
		why     string // in the log, from its beginning on
		prepare func(w *world)
		address string // "" for start
		asked   int    // requests that the public server gets
		passing bool
	}
	redirect := func(to string) func(w *world) {
		return func(w *world) {
			w.name("b.example.com", elsewhere)
			w.name("private.example.com", "127.0.0.1")
			w.route("a.example.com/hunter2.zip", strings.ReplaceAll(to, "PRIVATE", portOf(w.private)))
		}
	}
	scenarios := []scenario{
		// Redirects.
		{name: "to loopback", why: "its port is not 443", prepare: redirect("https://127.0.0.1PRIVATE/hunter2"), asked: 1},
		{name: "to loopback, port 443", why: "its IP address is not public (this machine)", prepare: redirect("https://127.0.0.1/hunter2"), asked: 1},
		{name: "to loopback over http", why: "a redirect from https to http", prepare: redirect("http://127.0.0.1PRIVATE/hunter2"), asked: 1},
		{name: "to the metadata of AWS", why: "a redirect from https to http", prepare: redirect("http://169.254.169.254/latest/meta-data/"), asked: 1},
		{name: "to the metadata of AWS over https", why: "its IP address is not public (link-local)", prepare: redirect("https://169.254.169.254/latest/meta-data/"), asked: 1},
		{name: "to the metadata by IPv6", why: "its IP address is not public (metadata of a cloud)", prepare: redirect("https://[fd00:ec2::254]/latest/"), asked: 1},
		{name: "to a mapped address", why: "its IPv6 address is written in an odd way", prepare: redirect("https://[::ffff:127.0.0.1]/"), asked: 1},
		{name: "to a decimal address", why: "its IPv4 address is written in an odd way", prepare: redirect("https://2130706433/"), asked: 1},
		{name: "to a name with a private address", why: "its IP address is not public (this machine)", prepare: redirect("https://private.example.com/hunter2"), asked: 1},
		{name: "to localhost", why: "its host is no public name", prepare: redirect("https://localhost/"), asked: 1},
		{name: "to another port", why: "its port is not 443", prepare: redirect("https://b.example.com:8443/hunter2"), asked: 1},
		{name: "from https to http", why: "a redirect from https to http", prepare: redirect("http://b.example.com/hunter2"), asked: 1},
		{name: "to an address with a user", why: "it has a user", prepare: redirect("https://hunter2:hunter2@b.example.com/"), asked: 1},
		{name: "to a file", why: "a redirect from https to file", prepare: redirect("file:///etc/passwd"), asked: 1},
		{name: "to data", why: "a redirect from https to data", prepare: redirect("data:text/plain,hunter2"), asked: 1},
		{name: "to gopher", why: "a redirect from https to gopher", prepare: redirect("gopher://127.0.0.1:6379/_INFO"), asked: 1},
		{name: "to another scheme's opaque text", why: "it has no host", prepare: redirect("https:127.0.0.1"), asked: 1},
		{name: "to backslashes", why: "it has no host", prepare: redirect(`https:\\127.0.0.1\`), asked: 1},
		{name: "to wide digits", why: "its IPv4 address is written in an odd way", prepare: redirect("https://１２７.0.0.1/hunter2"), asked: 1},
		{name: "to a broken address", why: "the server does not speak HTTP as it should", prepare: redirect("https://[hunter2/%zz"), asked: 1, passing: true},
		{name: "to another host without a scheme", why: "its IP address is not public (this machine)", prepare: redirect("//127.0.0.1/"), asked: 1},
		{name: "a fourth time", why: "more than 3 redirects", prepare: func(w *world) {
			for i := range 4 {
				w.route(fmt.Sprintf("a.example.com/%d", i), fmt.Sprintf("/%d", i+1))
			}
		}, address: "https://a.example.com/0", asked: 4},
		{name: "in a circle", why: "more than 3 redirects", prepare: redirect("/hunter2.zip"), asked: 4},
		{name: "loopback in the third hop", why: "its port is not 443", prepare: func(w *world) {
			w.name("b.example.com", elsewhere)
			w.route("a.example.com/hunter2.zip", "https://b.example.com/1")
			w.route("b.example.com/1", "/2")
			w.route("b.example.com/2", "https://127.0.0.1"+portOf(w.private))
		}, asked: 3},
		{name: "from an allowed host to one that is not", why: "its port is not 443", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "files.lan"+portOf(w.public))
			w.name("files.lan", "127.0.0.1")
			w.routes["files.lan"+portOf(w.public)+"/x"] = http.RedirectHandler("https://127.0.0.1"+portOf(w.private), http.StatusTemporaryRedirect).ServeHTTP
		}, address: "https://files.lan:PUBLIC/x", asked: 1},
		{name: "from an allowed host to its address", why: "its port is not 443", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "files.lan"+portOf(w.public))
			w.name("files.lan", "127.0.0.1")
			w.routes["files.lan"+portOf(w.public)+"/x"] = http.RedirectHandler("https://127.0.0.1"+portOf(w.public)+"/", http.StatusPermanentRedirect).ServeHTTP
		}, address: "https://files.lan:PUBLIC/x", asked: 1},
		{name: "from https to http of an allowed host", why: "a redirect from https to http", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "http://127.0.0.1"+portOf(w.private))
			redirect("http://127.0.0.1PRIVATE/")(w)
		}, asked: 1},

		// Names that change, or have several addresses.
		{name: "the name is private when it is dialled", why: "its IP address is not public (this machine)", prepare: func(w *world) { w.name("a.example.com", "127.0.0.1") }},
		{name: "the name changes before the second hop", why: "its IP address is not public (this machine)", prepare: func(w *world) {
			w.name("a.example.com", somewhere, "127.0.0.1")
			w.routes["a.example.com/hunter2.zip"] = func(out http.ResponseWriter, r *http.Request) {
				out.Header().Set("Connection", "close") // the next hop is dialled anew
				http.Redirect(out, r, "/again", http.StatusFound)
			}
		}, asked: 1},
		{name: "the second host is private", why: "its IP address is not public (private)", prepare: func(w *world) {
			redirect("https://b.example.com/")(w)
			w.name("b.example.com", "10.0.0.1")
		}, asked: 1},
		{name: "one public and one private address", why: "its IP address is not public (this machine)", prepare: func(w *world) { w.name("a.example.com", somewhere+" 127.0.0.1") }},
		{name: "one private and one public address", why: "its IP address is not public (private)", prepare: func(w *world) { w.name("a.example.com", "10.0.0.1 "+somewhere) }},
		{name: "one public address and the metadata by IPv6", why: "its IP address is not public (metadata of a cloud)", prepare: func(w *world) { w.name("a.example.com", somewhere+" fd00:ec2::254") }},
		{name: "a private one behind many public ones", why: "its IP address is not public (this machine)", prepare: func(w *world) {
			w.name("a.example.com", strings.Repeat(somewhere+" ", 40)+"127.0.0.1")
		}},
		{name: "a mapped address", why: "its IP address is not public (this machine)", prepare: func(w *world) { w.name("a.example.com", "::ffff:127.0.0.1") }},
		{name: "NAT64 of the metadata", why: "its IP address is not public (NAT64)", prepare: func(w *world) { w.name("a.example.com", "64:ff9b::a9fe:a9fe") }},
		{name: "an address with a zone", why: "its IP address is not public (not an address)", prepare: func(w *world) { w.name("a.example.com", "fe80::1%lo") }},
		{name: "an allowed name leads to the metadata", why: "its IP address is never allowed for a name (link-local)", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "http://files.lan:80")
			w.name("files.lan", "169.254.169.254")
		}, address: "http://files.lan/latest/"},
		{name: "an allowed name leads to the metadata and to a private address", why: "its IP address is never allowed for a name (link-local)", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "http://files.lan"+portOf(w.private))
			w.name("files.lan", "127.0.0.1 169.254.169.254")
		}, address: "http://files.lan:PRIVATE/latest/"},
		{name: "an allowed host, another port", why: "it is not https but http", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "http://127.0.0.1:1")
		}, address: "http://127.0.0.1:PRIVATE/"},
		{name: "an allowed name's other scheme", why: "it is not https but http", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "https://files.lan"+portOf(w.private))
			w.name("files.lan", "127.0.0.1")
		}, address: "http://files.lan:PRIVATE/"},

		// Servers that do not answer as they should.
		{name: "no such name", why: "the name does not exist", prepare: func(w *world) { w.name("a.example.com") }},
		{name: "a name without addresses", why: "the name does not exist", prepare: func(w *world) { w.name("a.example.com", "") }},
		{name: "the name server is silent", why: "the name could not be resolved", prepare: func(w *world) { w.name("a.example.com", "timeout") }, passing: true},
		{name: "the certificate of another host", why: "the certificate of the server is not trusted", prepare: func(w *world) { w.name("a.example.org", somewhere) }, address: "https://a.example.org" + secrets},
		{name: "a certificate that nobody signed", why: "the certificate of the server is not trusted: x509: certificate signed by unknown authority", prepare: func(w *world) { w.rules.Roots = x509.NewCertPool() }},
		{name: "an old TLS", why: "the network says: tls: protocol version not supported", prepare: func(w *world) { w.oldTLS.Store(true) }, passing: true},
		{name: "the connection is refused", why: "the network says: connect: connection refused", prepare: func(w *world) {
			w.rules.Allow = allowed(t, "http://127.0.0.1"+portOf(w.private))
			w.private.Close()
		}, address: "http://127.0.0.1:PRIVATE/", passing: true},
		{name: "the server hangs up", why: "the connection was closed without an answer", prepare: func(w *world) {
			w.routes["a.example.com/hunter2.zip"] = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, asked: 1, passing: true},
		{name: "the server is silent", why: "no answer in time", prepare: func(w *world) {
			w.rules.Idle = 500 * time.Millisecond
			w.routes["a.example.com/hunter2.zip"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, asked: 1, passing: true},
		{name: "the time is over", why: "no answer in time", prepare: func(w *world) {
			w.rules.Timeout = 2 * time.Second
			w.routes["a.example.com/hunter2.zip"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, asked: 1, passing: true},
		{name: "a header without end", why: "the server does not speak HTTP as it should", prepare: func(w *world) {
			w.routes["a.example.com/hunter2.zip"] = func(out http.ResponseWriter, _ *http.Request) {
				out.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			}
		}, asked: 1, passing: true},
		{name: "no HTTP", why: "the server does not speak HTTP as it should", prepare: func(w *world) {
			w.routes["a.example.com/hunter2.zip"] = func(out http.ResponseWriter, _ *http.Request) {
				c, _, _ := http.NewResponseController(out).Hijack()
				fmt.Fprint(c, "220 hunter2 ESMTP\r\n")
				c.Close()
			}
		}, asked: 1, passing: true},
	}
	if len(scenarios) < 15 {
		t.Fatal("the table is short")
	}
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			w := newWorld(t)
			w.name("a.example.com", somewhere)
			address := start
			if s.address != "" {
				address = strings.NewReplacer(":PUBLIC", portOf(w.public), ":PRIVATE", portOf(w.private)).Replace(s.address)
			}
			s.prepare(w)
			answer, err := w.client().Get(t.Context(), address, http.Header{"Authorization": {"Bearer hunter2"}})
			if err == nil {
				answer.Body.Close()
			}
			wantRefused(t, address, err)
			if netguard.Passing(err) != s.passing {
				t.Errorf("passing: %v", !s.passing)
			}
			if w.reached.Load() != 0 {
				t.Error("the private server was reached")
			}
			if asked := w.requests(); len(asked) != s.asked {
				t.Errorf("the public server was asked for %v", asked)
			}
			log := w.audit.String()
			if !strings.Contains(log, `"reason":"`+s.why) || strings.Contains(log, "hunter2") || strings.Contains(log, "/") && !strings.Contains(log, "i/o") {
				t.Errorf("the audit log says %s", log)
			}
		})
	}
}

// TestRebinding dials another address than the one that was resolved and checked: the dialler itself sees it.
func TestRebinding(t *testing.T) {
	for _, address := range []string{"https://a.example.com/", "https://93.184.216.34/", "http://files.lan:81/", "http://10.0.0.1:81/"} {
		for _, really := range []string{"private", "169.254.169.254:80", "[::ffff:169.254.169.254]:80"} {
			t.Run(address+" is "+really, func(t *testing.T) {
				w := newWorld(t)
				w.rules.Allow = allowed(t, "http://files.lan:81", "http://10.0.0.1:81")
				w.name("a.example.com", somewhere)
				w.name("files.lan", "10.0.0.1")
				to := really
				if really == "private" {
					to = w.private.Listener.Addr().String()
					if strings.Contains(address, "files.lan") {
						t.Skip("an allowed name may be private")
					}
				}
				c := netguard.New(w.rules)
				netguard.Rewire(c, func(netip.AddrPort) netip.AddrPort { return netip.MustParseAddrPort(to) })
				_, err := c.Get(t.Context(), address, nil)
				wantRefused(t, address, err)
				if w.reached.Load() != 0 || netguard.Passing(err) {
					t.Errorf("reached %d times; %s", w.reached.Load(), w.audit.String())
				}
			})
		}
	}
}

// TestLetThrough fetches what may be fetched.
func TestLetThrough(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(w *world)
		address string
		want    string
	}{
		"a public server":            {func(*world) {}, start, "public"},
		"one that IPv6 leads to":     {func(w *world) { w.name("a.example.com", "2606:2800:220:1::1 "+somewhere) }, start, "public"},
		"an allowed host":            {func(*world) {}, "https://files.lan:PUBLIC/x", "public"},
		"an allowed address by http": {func(*world) {}, "http://127.0.0.1:PRIVATE/x", "private"},
		"three redirects": {func(w *world) {
			w.name("b.example.net", elsewhere)
			w.route("a.example.com/hunter2.zip", "https://b.example.net/1")
			w.route("b.example.net/1", "/2")
			w.route("b.example.net/2", "https://a.example.com/3")
		}, start, "public"},
		"a redirect between allowed hosts": {func(w *world) {
			w.routes["files.lan"+portOf(w.public)+"/x"] = http.RedirectHandler("https://127.0.0.1"+portOf(w.public)+"/y", http.StatusFound).ServeHTTP
		}, "https://files.lan:PUBLIC/x", "public"},
		"from http to https": {func(w *world) {
			w.private.Config.Handler = http.RedirectHandler("https://a.example.com/y", http.StatusFound)
		}, "http://127.0.0.1:PRIVATE/x", "public"},
		"compressed bytes as they are": {func(w *world) {
			w.routes["a.example.com/hunter2.zip"] = func(out http.ResponseWriter, r *http.Request) {
				out.Header().Set("Content-Encoding", "gzip")
				fmt.Fprintf(out, "%q", r.Header["Accept-Encoding"])
			}
		}, start, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
			w.name("a.example.com", somewhere)
			w.name("files.lan", "127.0.0.1")
			w.rules.Allow = allowed(t, "files.lan"+portOf(w.public), "https://127.0.0.1"+portOf(w.public), "http://127.0.0.1"+portOf(w.private))
			test.prepare(w)
			address := strings.NewReplacer(":PUBLIC", portOf(w.public), ":PRIVATE", portOf(w.private)).Replace(test.address)
			answer, err := w.client().Get(t.Context(), address, nil)
			if err != nil {
				t.Fatalf("%v: %s", err, w.audit.String())
			}
			defer answer.Body.Close()
			data, err := io.ReadAll(answer.Body)
			if err != nil || string(data) != test.want {
				t.Errorf("%q, %v", data, err)
			}
			if w.audit.Len() > 0 {
				t.Errorf("the audit log says %s", w.audit.String())
			}
		})
	}
}

// TestHeaders: credentials stay with the server that they are for, cookies and the address before are never told.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	w.name("a.example.com", somewhere)
	w.name("b.a.example.com", elsewhere)
	w.name("b.example.net", elsewhere)
	w.routes["a.example.com/hunter2.zip"] = func(out http.ResponseWriter, r *http.Request) {
		http.SetCookie(out, &http.Cookie{Name: "hunter2", Value: "hunter2"})
		http.Redirect(out, r, "/same?hunter2", http.StatusFound)
	}
	w.route("a.example.com/same", "https://b.example.net/other?x")
	w.route("b.example.net/other", "https://a.example.com/back")
	sent := http.Header{"Authorization": {"hunter2"}, "X-Api-Key": {"hunter2"}, "Range": {"bytes=0-"}}
	answer, err := w.client().Get(t.Context(), start, sent)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if len(w.requests()) != 4 {
		t.Fatalf("asked for %v", w.asked)
	}
	for i, h := range w.headers {
		told := strings.Contains(fmt.Sprint(h), "hunter2")
		if told != (i < 2) || h.Get("Range") != "bytes=0-" || h.Get("Referer") != "" || h.Get("Cookie") != "" {
			t.Errorf("%s was told %v", w.asked[i], h)
		}
	}
	if len(sent) != 3 {
		t.Error("the caller's header was changed")
	}
}

// TestBody: a body has a limit, breaks with a kind, and ends with its caller.
func TestBody(t *testing.T) {
	endless := func(out http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := out.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	}
	for name, test := range map[string]struct {
		serve  http.HandlerFunc
		limit  int64
		cancel bool
		want   failure.Kind
	}{
		"too long": {serve: endless, limit: 12_345, want: failure.Exhausted},
		"cut off": {func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Length", "9")
			fmt.Fprint(out, "x")
		}, 0, false, failure.Transient},
		"silent": {func(out http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(out).Flush()
			<-r.Context().Done()
		}, 0, false, failure.Transient},
		"cancelled": {serve: endless, cancel: true, want: failure.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.name("a.example.com", somewhere)
			w.routes["a.example.com/hunter2.zip"] = test.serve
			w.rules.MaxBytes, w.rules.Idle = test.limit, 300*time.Millisecond
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			answer, err := w.client().Get(ctx, start, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if test.cancel {
				cancel()
			}
			n, err := io.Copy(io.Discard, answer.Body)
			if failure.KindOf(err) != test.want || err == nil || strings.Contains(err.Error(), "hunter2") || test.limit > 0 && n != test.limit {
				t.Errorf("%d bytes, %v: %v", n, failure.KindOf(err), err)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	w := newWorld(t)
	w.name("a.example.com", somewhere)
	ctx, cancel := context.WithCancel(t.Context())
	w.routes["a.example.com/hunter2.zip"] = func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }
	_, err := w.client().Get(ctx, start, nil)
	if failure.KindOf(err) != failure.Canceled || !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
