package main

import (
	"errors"
	"fmt"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/awsutils"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
)

func (l *datastoreLevel) failCheckpoint(argument []byte) (any, error) {
	var in struct {
		Fail string `json:"fail"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	l.checkpoint.fail = in.Fail
	return nil, nil
}

func (l *datastoreLevel) written(argument []byte) (any, error) {
	if err := decode(argument, &struct{}{}); err != nil {
		return nil, err
	}
	return map[string]any{"writes": l.checkpoint.writes, "entries": l.checkpoint.entries(l.began)}, nil
}

func (l *datastoreLevel) restore(argument []byte) (any, error) {
	in := struct {
		Entries []entry  `json:"entries"`
		Veths   []string `json:"veths"`
		IPv6    bool     `json:"ipv6"`
		Version string   `json:"version"`
		Missing bool     `json:"missing"`
		Fail    string   `json:"fail"`
	}{Version: datastore.CheckpointFormatVersion}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	pods := map[string]bool{}
	for _, one := range in.Entries {
		if one.Pod != "" && in.Veths == nil {
			pods[one.Pod] = true
		}
		if (one.IPv4 != "" && !parseIP(one.IPv4)) || (one.IPv6 != "" && !parseIP(one.IPv6)) {
			return nil, fmt.Errorf("entries: no address: %q %q", one.IPv4, one.IPv6)
		}
	}
	for _, pod := range in.Veths {
		if _, _, err := parsePod(pod); err != nil {
			return nil, err
		}
		pods[pod] = true
	}
	file := checkpoint{unread: in.Fail}
	if err := file.put(in.Entries, in.Version, l.began); err != nil {
		return nil, err
	}
	if in.Missing {
		file.content = nil
	}
	l.checkpoint.content, l.checkpoint.unread, l.links.pods = file.content, file.unread, pods
	return outcome(nil, l.store.ReadBackingStore(in.IPv6))
}

// anyType is an instance type that the original's tables do not have.
const anyType = "t9.test"

func (l *datastoreLevel) targets(argument []byte) (any, error) {
	in := struct {
		WarmENI        int  `json:"warm_eni"`
		WarmIP         int  `json:"warm_ip"`
		MinimumIP      int  `json:"minimum_ip"`
		WarmPrefix     int  `json:"warm_prefix"`
		IPsPerENI      int  `json:"ips_per_eni"`
		PrefixesPerENI int  `json:"prefixes_per_eni"`
		MaxPods        int  `json:"max_pods"`
		MaxENIs        int  `json:"max_enis"`
		Unmanaged      int  `json:"unmanaged"`
		PodENI         bool `json:"pod_eni"`
	}{MaxPods: 1_000_000, MaxENIs: 1000}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	if in.IPsPerENI <= 0 {
		return nil, errors.New("field ips_per_eni is missing: addresses that one ENI can have, without the primary one")
	}
	aws := &awsutils.EC2InstanceMetadataCache{}
	set(aws, anyType, "instanceType")
	pool := &ipamd.IPAMContext{}
	for name, value := range map[string]any{
		"awsClient": aws, "dataStoreAccess": &datastore.DataStoreAccess{DataStores: []*datastore.DataStore{l.store}},
		"enableIPv4": true, "enablePrefixDelegation": l.prefixes, "enablePodENI": in.PodENI, "warmENITarget": in.WarmENI,
		"warmIPTarget": in.WarmIP, "minimumIPTarget": in.MinimumIP, "warmPrefixTarget": in.WarmPrefix, "maxIPsPerENI": in.IPsPerENI,
		"maxPrefixesPerENI": in.PrefixesPerENI, "maxPods": in.MaxPods, "maxENI": in.MaxENIs, "unmanagedENI": []int{in.Unmanaged},
	} {
		set(pool, value, name)
	}
	stats := l.store.GetIPStats("4")
	short, over, defined := datastoreTargetState(pool, stats, 0)
	shortPrefixes, prefixTarget := datastorePrefixTargetState(pool, 0)
	return map[string]any{
		"short": short, "over": over, "ip_targets": defined, "short_prefixes": shortPrefixes, "prefix_target": prefixTarget,
		"too_low": isDatastorePoolTooLow(pool)[0].IsLow, "too_high": isDatastorePoolTooHigh(pool, stats, 0),
		"to_allocate": pool.GetENIResourcesToAllocate(0), "extra_enis": shouldRemoveExtraENIs(pool, stats, 0), "room": hasRoomForEni(pool, 0),
	}, nil
}
