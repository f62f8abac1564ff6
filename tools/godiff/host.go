package main

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/networkutils"
	"github.com/vishvananda/netlink"
)

// hostState is the host's network.
type hostState struct {
	Pods    map[string]bool `json:"pods"` // NAMESPACE/NAME of pods with a veth
	Missing []string        `json:"missing_links"`
	Fails   []*failing      `json:"fails"`
}

type hostCall struct {
	Call      string         `json:"call"`
	Arguments map[string]any `json:"arguments"`
	Start     int64          `json:"start_us"`
	End       int64          `json:"end_us"`
	Error     string         `json:"error,omitempty"`
}

// hostNetwork is the host's network as the original programs it.
type hostNetwork struct {
	networkutils.NetworkAPIs
	*world
}

// linkSearch is how long the original looks for the link of an ENI: five times, three seconds apart.
const linkSearch = 12 * time.Second

func (h hostNetwork) note(name string, given map[string]any, start int64, err error) error {
	h.enter()
	defer h.Unlock()
	if failed := takeFailing(&h.Host.Fails, name); failed != nil && err == nil {
		err = failed
	}
	entry := hostCall{Call: name, Arguments: given, Start: start, End: now()}
	if err != nil {
		entry.Error = err.Error()
	}
	h.Log.Host = append(h.Log.Host, entry)
	return err
}

func (h hostNetwork) SetupHostNetwork(cidrs []string, mac string, primary *net.IP, podENI, six bool) error {
	given := map[string]any{"cidrs": slices.Clone(cidrs), "mac": mac, "primary": primary.String(), "pod_eni": podENI, "ipv6": six}
	return h.note("SetupHostNetwork", given, now(), nil)
}

func (h hostNetwork) SetupENINetwork(ip, mac string, card int, cidr string, _ int, trunk bool, table int, _ bool) error {
	given := map[string]any{"ip": ip, "mac": mac, "card": card, "cidr": cidr, "trunk": trunk, "table": table}
	start := now()
	h.enter()
	missing := slices.ContainsFunc(h.ENIs, func(e *eni) bool { return e.MAC == mac && slices.Contains(h.Host.Missing, e.ID) })
	h.Unlock()
	var err error
	if missing {
		time.Sleep(linkSearch)
		err = fmt.Errorf("setupENINetwork: failed to find the link which uses MAC address %s: no interface found which uses mac address", mac)
	}
	return h.note("SetupENINetwork", given, start, err)
}

func (h hostNetwork) UpdateHostSNATRules(cidrs []string, mac string, primary *net.IP, six bool) error {
	given := map[string]any{"cidrs": slices.Clone(cidrs), "mac": mac, "primary": primary.String(), "ipv6": six}
	return h.note("UpdateHostSNATRules", given, now(), nil)
}

func (h hostNetwork) CleanUpStaleAWSChains(bool, bool) error { return nil }

func (h hostNetwork) UseExternalSNAT() bool { return false }

func (h hostNetwork) GetExcludeSNATCIDRs() []string { return nil }

func (h hostNetwork) GetExternalServiceCIDRs() []string { return nil }

func (h hostNetwork) GetRuleList(bool) ([]netlink.Rule, error) {
	return nil, h.note("GetRuleList", map[string]any{}, now(), nil)
}

func (h hostNetwork) GetRuleListBySrc([]netlink.Rule, net.IPNet) ([]netlink.Rule, error) {
	return nil, nil
}

func (h hostNetwork) UpdateRuleListBySrc(_ []netlink.Rule, source net.IPNet) error {
	return h.note("UpdateRuleListBySrc", map[string]any{"source": source.String()}, now(), nil)
}

func (h hostNetwork) UpdateExternalServiceIpRules([]netlink.Rule, []string) error { return nil }

func (h hostNetwork) GetLinkByMac(mac string, _ time.Duration) (netlink.Link, error) {
	h.enter()
	defer h.Unlock()
	for i, one := range h.ENIs {
		if one.MAC == mac && !slices.Contains(h.Host.Missing, one.ID) {
			return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: i + 2, Name: fmt.Sprintf("eth%d", one.Device)}}, nil
		}
	}
	return nil, fmt.Errorf("no interface found which uses mac address %s", mac)
}

func (h hostNetwork) DeleteRulesBySrc(ip string, six bool) error {
	return h.note("DeleteRulesBySrc", map[string]any{"ip": ip, "ipv6": six}, now(), nil)
}

func (h hostNetwork) GetRouteTableNumberForENI(card int, _ string, device, _ int, _ bool) (int, bool, error) {
	return networkutils.CalculateRouteTableId(device, card), false, nil
}
