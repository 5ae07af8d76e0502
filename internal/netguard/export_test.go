package netguard

import (
	"context"
	"net"
	"net/netip"
)

// Refused is the one refusal.
const Refused = refused

// HintFor is the hint of a refusal of an address, which tells nothing but what is in the address.
func HintFor(address string) string {
	u, err := parse(address)
	if err != nil {
		u = nil
	}
	return hintFor(u)
}

// Rewire has every connection go elsewhere, behind the back of what was resolved and checked: what the dialler itself
// checks is all that is left.
func Rewire(c *Client, elsewhere func(netip.AddrPort) netip.AddrPort) {
	c.dial = func(ctx context.Context, to netip.AddrPort, check func(netip.Addr) error) (net.Conn, error) {
		return dial(ctx, elsewhere(to), check)
	}
}

// Pretend makes connections to public addresses by connect, which a test cannot reach; all others are dialled.
func Pretend(c *Client, connect func(ctx context.Context, to netip.AddrPort) (net.Conn, error)) {
	c.dial = func(ctx context.Context, to netip.AddrPort, check func(netip.Addr) error) (net.Conn, error) {
		if Public(to.Addr()) {
			return connect(ctx, to)
		}
		return dial(ctx, to, check)
	}
}
