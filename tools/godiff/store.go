package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"sort"
	"strconv"
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

// storeView remembers what it has shown of a store, so that it shows changes.
type storeView struct {
	shown   map[string][]byte
	scratch []byte
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
		v.scratch = appendENI(v.scratch[:0], pool[id], began)
		text := v.scratch
		if !bytes.Equal(text, v.shown[id]) {
			kept := slices.Clone(text)
			v.shown[id] = kept
			change.ENIs = append(change.ENIs, kept)
		}
	}
	return change
}

func statsOf(store *datastore.DataStore, family string) familyStats {
	stats := store.GetIPStats(family)
	return familyStats{stats.TotalIPs, stats.TotalPrefixes, stats.AssignedIPs, stats.CooldownIPs}
}

// The forms of ENIs are written by hand: most of a step's time would be encoding/json's.

func appendENI(to []byte, eni *datastore.ENI, began time.Time) []byte {
	to = appendText(append(to, `{"id":`...), eni.ID)
	to = strconv.AppendInt(append(to, `,"created_us":`...), get[time.Time](eni, "createTime").Sub(began).Microseconds(), 10)
	to = strconv.AppendInt(append(to, `,"device":`...), int64(eni.DeviceNumber), 10)
	to = strconv.AppendBool(append(to, `,"primary":`...), eni.IsPrimary)
	to = strconv.AppendBool(append(to, `,"trunk":`...), eni.IsTrunk)
	to = strconv.AppendBool(append(to, `,"efa":`...), eni.IsEFA)
	to = strconv.AppendBool(append(to, `,"excluded":`...), eni.IsExcludedForPodIPs)
	to = strconv.AppendInt(append(to, `,"table":`...), int64(eni.RouteTableID), 10)
	to = appendText(append(to, `,"subnet":`...), eni.SubnetID)
	to = appendCIDRs(append(to, `,"v4":`...), eni.AvailableIPv4Cidrs, began)
	to = appendCIDRs(append(to, `,"v6":`...), eni.IPv6Cidrs, began)
	return append(to, '}')
}

type numberedCIDR struct {
	number netip.Prefix
	text   string
	cidr   *datastore.CidrInfo
}

func appendCIDRs(to []byte, cidrs map[string]*datastore.CidrInfo, began time.Time) []byte {
	list := make([]numberedCIDR, 0, len(cidrs))
	for text, cidr := range cidrs {
		address, _ := netip.AddrFromSlice(cidr.Cidr.IP)
		ones, _ := cidr.Cidr.Mask.Size()
		list = append(list, numberedCIDR{netip.PrefixFrom(address.Unmap(), ones), text, cidr})
	}
	slices.SortFunc(list, func(a, b numberedCIDR) int { return a.number.Compare(b.number) })
	to = append(to, '[')
	for i, one := range list {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendText(append(to, `{"cidr":`...), one.text)
		to = strconv.AppendBool(append(to, `,"prefix":`...), one.cidr.IsPrefix)
		to = appendAddresses(append(to, `,"addresses":`...), one.cidr.IPAddresses, began)
		to = append(to, '}')
	}
	return append(to, ']')
}

type numberedAddress struct {
	number  netip.Addr
	address *datastore.AddressInfo
}

func appendAddresses(to []byte, addresses map[string]*datastore.AddressInfo, began time.Time) []byte {
	list := make([]numberedAddress, 0, len(addresses))
	for text, address := range addresses {
		number, _ := netip.ParseAddr(text)
		list = append(list, numberedAddress{number, address})
	}
	slices.SortFunc(list, func(a, b numberedAddress) int { return a.number.Compare(b.number) })
	to = append(to, '[')
	for i, one := range list {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendAddress(to, one.address, began)
	}
	return append(to, ']')
}

func appendAddress(to []byte, address *datastore.AddressInfo, began time.Time) []byte {
	to = appendText(append(to, `{"ip":`...), address.Address)
	if address.Assigned() {
		to = appendText(append(to, `,"key":`...), address.IPAMKey.String())
		if pod := podText(address.IPAMMetadata); pod != "" {
			to = appendText(append(to, `,"pod":`...), pod)
		}
		if count := address.IPAMMetadata.InterfacesCount; count != 0 {
			to = strconv.AppendInt(append(to, `,"interfaces":`...), int64(count), 10)
		}
	}
	if !address.AssignedTime.IsZero() {
		to = strconv.AppendInt(append(to, `,"assigned_us":`...), address.AssignedTime.Sub(began).Microseconds(), 10)
	}
	if !address.UnassignedTime.IsZero() {
		to = strconv.AppendInt(append(to, `,"freed_us":`...), address.UnassignedTime.Sub(began).Microseconds(), 10)
	}
	return append(to, '}')
}

// appendText writes a JSON string.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil {
				fatal("a text cannot be written as JSON: %v", err)
			}
			return append(to, quoted...)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
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
