package netguard

import "net/netip"

// ranges are the addresses that are not of the public internet (IANA's registries of special-purpose addresses), and
// some public ones that clouds use for their own services. IPv6 is public within 2000::/3 only.
var ranges = []struct {
	prefix netip.Prefix
	what   string
	never  bool // a name may not lead there even where the configuration allows it
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network", true},
	{netip.MustParsePrefix("10.0.0.0/8"), "private", false},
	{netip.MustParsePrefix("100.100.100.200/32"), "metadata of a cloud", true},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers", false},
	{netip.MustParsePrefix("127.0.0.0/8"), "this machine", false},
	{netip.MustParsePrefix("168.63.129.16/32"), "a service of a cloud", true},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", true},
	{netip.MustParsePrefix("172.16.0.0/12"), "private", false},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved", true},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation", true},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112", true},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT", true},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relays", true},
	{netip.MustParsePrefix("192.168.0.0/16"), "private", false},
	{netip.MustParsePrefix("192.175.48.0/24"), "AS112", true},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks", true},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation", true},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation", true},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", true},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", true},

	{netip.MustParsePrefix("::/128"), "unspecified", true},
	{netip.MustParsePrefix("::1/128"), "this machine", false},
	{netip.MustParsePrefix("::/96"), "IPv4-compatible", true},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64", true},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64", true},
	{netip.MustParsePrefix("100::/64"), "discarded", true},
	{netip.MustParsePrefix("2001::/32"), "Teredo", true},
	{netip.MustParsePrefix("2001::/23"), "reserved", true}, // benchmarks, ORCHID, anycast
	{netip.MustParsePrefix("2001:db8::/32"), "documentation", true},
	{netip.MustParsePrefix("2002::/16"), "6to4", true},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112", true},
	{netip.MustParsePrefix("3fff::/20"), "documentation", true},
	{netip.MustParsePrefix("fd00:ec2::/32"), "metadata of a cloud", true},
	{netip.MustParsePrefix("fd20:ce::254/128"), "metadata of a cloud", true},
	{netip.MustParsePrefix("fc00::/7"), "private", false},
	{netip.MustParsePrefix("fe80::/10"), "link-local", true},
	{netip.MustParsePrefix("fec0::/10"), "site-local", true},
	{netip.MustParsePrefix("ff00::/8"), "multicast", true},
}

var global = netip.MustParsePrefix("2000::/3")

// class returns what an address is where it is not public, and whether that is out of reach even for allowed names.
func class(ip netip.Addr) (what string, never bool) {
	if !ip.IsValid() || ip.Zone() != "" {
		return "not an address", true
	}
	ip = ip.Unmap() // before any test: ::ffff:127.0.0.1 is this machine
	for _, r := range ranges {
		if r.prefix.Contains(ip) {
			return r.what, r.never
		}
	}
	if ip.Is6() && !global.Contains(ip) {
		return "reserved", true
	}
	return "", false
}

// Public reports whether an address belongs to the public internet.
func Public(ip netip.Addr) bool {
	what, _ := class(ip)
	return what == ""
}

func public(ip netip.Addr) error {
	if what, _ := class(ip); what != "" {
		return blocked("its IP address is not public (" + what + ")")
	}
	return nil
}

// reachable is what an allowed name may resolve to: also private addresses, but none that only a trick leads to.
func reachable(ip netip.Addr) error {
	if what, never := class(ip); never {
		return blocked("its IP address is never allowed for a name (" + what + ")")
	}
	return nil
}
