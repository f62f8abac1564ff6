package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
)

// parseKey reads NETWORK/CONTAINER/INTERFACE, or CONTAINER alone.
func parseKey(text string) (datastore.IPAMKey, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 1 {
		parts = []string{"aws-cni", text, "eth0"}
	}
	if len(parts) != 3 || parts[1] == "" {
		return datastore.IPAMKey{}, fmt.Errorf("key: CONTAINER or NETWORK/CONTAINER/INTERFACE, got %q", text)
	}
	return datastore.IPAMKey{NetworkName: parts[0], ContainerID: parts[1], IfName: parts[2]}, nil
}

// parsePod reads NAMESPACE/NAME.
func parsePod(text string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return "", "", fmt.Errorf("pod: NAMESPACE/NAME, got %q", text)
	}
	return namespace, name, nil
}

// parseCIDR reads an address with a length, and says whether it is IPv6.
func parseCIDR(text string) (cidr net.IPNet, six bool, err error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return cidr, false, fmt.Errorf("cidr: an address with a length such as 10.0.0.7/32, got %q", text)
	}
	if prefix != prefix.Masked() {
		return cidr, false, fmt.Errorf("cidr: %q has bits behind its length; %s is the block", text, prefix.Masked())
	}
	if 1<<min(prefix.Addr().BitLen()-prefix.Bits(), 62) > 1<<48 {
		return cidr, false, fmt.Errorf("cidr: %q has more than 2^48 addresses", text)
	}
	return net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}, prefix.Addr().Is6(), nil
}

// precedes orders addresses and CIDRs by number.
func precedes(a, b string) bool {
	order := numbered(a).Compare(numbered(b))
	return order < 0 || (order == 0 && a < b)
}

// numbered is an address or a CIDR in the form that has an order.
func numbered(text string) netip.Prefix {
	if strings.Contains(text, "/") {
		prefix, _ := netip.ParsePrefix(text)
		return prefix
	}
	address, _ := netip.ParseAddr(text)
	return netip.PrefixFrom(address, address.BitLen())
}
