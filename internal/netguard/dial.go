package netguard

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// maxAddresses is how many addresses of a name are tried.
const maxAddresses = 6

// connect resolves a host, checks every address that it has, and dials those very addresses: IPv4 first, since a
// machine without a way to IPv6 may learn so only from a timeout.
func (c *Client) connect(ctx context.Context, _, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, blocked("it has no port")
	}
	to, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, blocked("its port is no port")
	}
	check := c.judge(name, port)
	ctx, cancel := context.WithTimeout(ctx, c.rules.Connect)
	defer cancel()
	ips, err := c.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, ip := range ips { // one that is not allowed makes all suspicious
		if err := check(ip); err != nil {
			return nil, err
		}
	}
	ips = ips[:min(len(ips), maxAddresses)]
	for i, ip := range ips {
		var connection net.Conn
		each, cancel := context.WithTimeout(ctx, share(ctx, len(ips)-i))
		connection, err = c.dial(each, netip.AddrPortFrom(ip, uint16(to)), check)
		cancel()
		if err == nil {
			return &conn{connection, c.rules.Idle}, nil
		}
	}
	return nil, err
}

// share returns the time of one of n tries: that which is left, in equal parts of at least 2 seconds.
func share(ctx context.Context, n int) time.Duration {
	deadline, _ := ctx.Deadline()
	return max(time.Until(deadline)/time.Duration(n), 2*time.Second)
}

// judge returns the check of a host's IP addresses.
func (c *Client) judge(name, port string) func(netip.Addr) error {
	if !c.rules.allows("", name, port) {
		return public
	}
	literal, err := netip.ParseAddr(name)
	if err != nil {
		return reachable
	}
	return func(ip netip.Addr) error {
		if ip.Unmap() != literal {
			return blocked("another IP address than the allowed one is dialled")
		}
		return nil
	}
}

func (c *Client) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{ip}, nil
	}
	found, err := c.rules.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no address", IsNotFound: true}
	}
	ips := make([]netip.Addr, len(found))
	for i, ip := range found {
		ips[i] = ip.Unmap()
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return ips, nil
}

// dialFunc connects to an address; check is asked about the address that is really dialled.
type dialFunc func(ctx context.Context, to netip.AddrPort, check func(netip.Addr) error) (net.Conn, error)

func dial(ctx context.Context, to netip.AddrPort, check func(netip.Addr) error) (net.Conn, error) {
	dialer := &net.Dialer{ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
		really, err := netip.ParseAddrPort(address)
		if err != nil || network != "tcp4" && network != "tcp6" {
			return blocked("something else than an IP address is dialled")
		}
		return check(really.Addr())
	}}
	return dialer.DialContext(ctx, "tcp", to.String())
}

// conn limits the time of each read and write: while the reader of a body does something else, nothing is read.
type conn struct {
	net.Conn
	idle time.Duration
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
