package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
)

type counters struct {
	Total    int `json:"total"`
	Assigned int `json:"assigned"`
	Prefixes int `json:"prefixes"`
}

type familyStats struct {
	Total    int `json:"total"`
	Prefixes int `json:"prefixes"`
	Assigned int `json:"assigned"`
	Cooling  int `json:"cooling"`
}

type storeChange struct {
	Counters counters `json:"counters"`
	Stats    struct {
		V4 familyStats `json:"v4"`
		V6 familyStats `json:"v6"`
	} `json:"stats"`
	FreePrefixes int               `json:"free_prefixes"`
	Trunk        string            `json:"trunk"`
	ENIs         []json.RawMessage `json:"enis"`
	Gone         []string          `json:"gone"`
}

type storedENI struct {
	ID       string       `json:"id"`
	Created  int64        `json:"created_us"`
	Device   int          `json:"device"`
	Primary  bool         `json:"primary"`
	Trunk    bool         `json:"trunk"`
	EFA      bool         `json:"efa"`
	Excluded bool         `json:"excluded"`
	Table    int          `json:"table"`
	Subnet   string       `json:"subnet"`
	V4       []storedCIDR `json:"v4"`
	V6       []storedCIDR `json:"v6"`
}

type storedCIDR struct {
	CIDR      string          `json:"cidr"`
	Prefix    bool            `json:"prefix"`
	Addresses []storedAddress `json:"addresses"`
	number    netip.Prefix
}

type storedAddress struct {
	IP         string `json:"ip"`
	Key        string `json:"key,omitempty"`
	Pod        string `json:"pod,omitempty"`
	Interfaces int    `json:"interfaces,omitempty"`
	Assigned   *int64 `json:"assigned_us,omitempty"`
	Freed      *int64 `json:"freed_us,omitempty"`
	number     netip.Prefix
}

// storeView remembers what it has shown of a store, so that it shows changes.
type storeView struct {
	shown map[string][]byte
}

// changes of the store since the last call. Times count from began.
func (v *storeView) changes(store *datastore.DataStore, began time.Time) storeChange {
	change := storeChange{ENIs: []json.RawMessage{}, Gone: []string{}}
	change.Counters = counters{get[int](store, "total"), get[int](store, "assigned"), get[int](store, "allocatedPrefix")}
	change.Stats.V4, change.Stats.V6 = statsOf(store, "4"), statsOf(store, "6")
	change.FreePrefixes, change.Trunk = store.GetFreePrefixes(), store.GetTrunkENI()
	pool := get[datastore.ENIPool](store, "eniPool")
	if v.shown == nil {
		v.shown = map[string][]byte{}
	}
	for id := range v.shown {
		if pool[id] == nil {
			change.Gone = append(change.Gone, id)
			delete(v.shown, id)
		}
	}
	sort.Strings(change.Gone)
	ids := make([]string, 0, len(pool))
	for id := range pool {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		text, err := json.Marshal(storedForm(pool[id], began))
		if err != nil {
			fatal("ENI %s cannot be written as JSON: %v", id, err)
		}
		if !bytes.Equal(text, v.shown[id]) {
			v.shown[id] = text
			change.ENIs = append(change.ENIs, text)
		}
	}
	return change
}

func statsOf(store *datastore.DataStore, family string) familyStats {
	stats := store.GetIPStats(family)
	return familyStats{stats.TotalIPs, stats.TotalPrefixes, stats.AssignedIPs, stats.CooldownIPs}
}

func storedForm(eni *datastore.ENI, began time.Time) storedENI {
	return storedENI{
		ID: eni.ID, Created: get[time.Time](eni, "createTime").Sub(began).Microseconds(), Device: eni.DeviceNumber,
		Primary: eni.IsPrimary, Trunk: eni.IsTrunk, EFA: eni.IsEFA, Excluded: eni.IsExcludedForPodIPs, Table: eni.RouteTableID,
		Subnet: eni.SubnetID, V4: storedCIDRs(eni.AvailableIPv4Cidrs, began), V6: storedCIDRs(eni.IPv6Cidrs, began),
	}
}

func storedCIDRs(cidrs map[string]*datastore.CidrInfo, began time.Time) []storedCIDR {
	forms := make([]storedCIDR, 0, len(cidrs))
	for _, cidr := range cidrs {
		form := storedCIDR{CIDR: cidr.Cidr.String(), Prefix: cidr.IsPrefix, Addresses: make([]storedAddress, 0, len(cidr.IPAddresses))}
		form.number = numbered(form.CIDR)
		for _, address := range cidr.IPAddresses {
			form.Addresses = append(form.Addresses, addressForm(address, began))
		}
		slices.SortFunc(form.Addresses, func(a, b storedAddress) int { return a.number.Compare(b.number) })
		forms = append(forms, form)
	}
	slices.SortFunc(forms, func(a, b storedCIDR) int { return a.number.Compare(b.number) })
	return forms
}

func addressForm(address *datastore.AddressInfo, began time.Time) storedAddress {
	form := storedAddress{IP: address.Address, number: numbered(address.Address), Assigned: since(address.AssignedTime, began), Freed: since(address.UnassignedTime, began)}
	if address.Assigned() {
		form.Key, form.Interfaces = address.IPAMKey.String(), address.IPAMMetadata.InterfacesCount
		form.Pod = podText(address.IPAMMetadata)
	}
	return form
}

// since is the microseconds from began to moment, if there was such a moment.
func since(moment, began time.Time) *int64 {
	if moment.IsZero() {
		return nil
	}
	microseconds := moment.Sub(began).Microseconds()
	return &microseconds
}

func podText(metadata datastore.IPAMMetadata) string {
	if metadata.K8SPodNamespace == "" && metadata.K8SPodName == "" {
		return ""
	}
	return metadata.K8SPodNamespace + "/" + metadata.K8SPodName
}
