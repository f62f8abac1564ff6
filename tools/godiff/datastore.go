package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing/synctest"
	"time"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/utils/logger"
	"github.com/aws/amazon-vpc-cni-k8s/utils/prometheusmetrics"
	"github.com/prometheus/client_golang/prometheus"
)

// datastoreLevel drives the original's store of one network card.
type datastoreLevel struct {
	store      *datastore.DataStore
	checkpoint *checkpoint
	links      *links
	prefixes   bool
	began      time.Time
	view       storeView
	metrics    metricsView
	operations map[string]func(*datastoreLevel, []byte) (any, error)
}

type datastoreAnswer struct {
	At      int64         `json:"at_us"`
	Result  any           `json:"result,omitempty"`
	Failed  *failure      `json:"failed,omitempty"`
	Store   storeChange   `json:"store"`
	Metrics metricsChange `json:"metrics"`
}

// failure is an error that the original returned.
type failure struct {
	Class string `json:"class"`
	Text  string `json:"text"`
}

func newDatastoreLevel() *datastoreLevel {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheusmetrics.Enis, prometheusmetrics.TotalIPs, prometheusmetrics.AssignedIPs,
		prometheusmetrics.TotalPrefixes, prometheusmetrics.EniIPsInUse, prometheusmetrics.IpsPerCidr,
		prometheusmetrics.ForceRemovedENIs, prometheusmetrics.ForceRemovedIPs, prometheusmetrics.NoAvailableIPAddrs)
	return &datastoreLevel{
		metrics: metricsView{registry: registry},
		operations: map[string]func(*datastoreLevel, []byte) (any, error){
			"new": (*datastoreLevel).newHistory, "pass": (*datastoreLevel).pass, "report": (*datastoreLevel).report,
			"add_eni": (*datastoreLevel).addENI, "remove_eni": (*datastoreLevel).removeENI, "exclude": (*datastoreLevel).exclude,
			"add_cidr": (*datastoreLevel).addCIDR, "del_cidr": (*datastoreLevel).delCIDR,
			"assign": (*datastoreLevel).assign, "unassign": (*datastoreLevel).unassign,
			"remove_unused": (*datastoreLevel).removeUnused, "freeable": (*datastoreLevel).freeable,
			"freeable_eni": (*datastoreLevel).freeableENI, "allocatable": (*datastoreLevel).allocatable,
			"cidrs": (*datastoreLevel).cidrs, "pods": (*datastoreLevel).pods, "targets": (*datastoreLevel).targets,
			"checkpoint": (*datastoreLevel).failCheckpoint, "written": (*datastoreLevel).written, "restore": (*datastoreLevel).restore,
		},
	}
}

// refused is an error of the original, as opposed to a command that cannot be understood.
type refused struct{ error }

func (l *datastoreLevel) handle(name string, argument []byte) (any, error) {
	operation, known := l.operations[name]
	if !known {
		return nil, unknownCommand(l.operations)
	}
	if l.store == nil && name != "new" {
		return nil, errors.New("there is no store yet; begin with new")
	}
	result, err := guarded(func() (any, error) { return operation(l, argument) })
	var original refused
	if err != nil && !errors.As(err, &original) {
		return nil, err
	}
	// What the operation started must have come to rest before the store is read.
	synctest.Wait()
	answer := datastoreAnswer{At: time.Since(l.began).Microseconds(), Result: result}
	if err != nil {
		answer.Failed = &failure{classOf(original.error), original.Error()}
	}
	answer.Store, answer.Metrics = l.view.changes(l.store, l.began), l.metrics.changes()
	return answer, nil
}

// panicked is what the original panicked with.
type panicked struct{ value any }

func (p panicked) Error() string { return fmt.Sprint(p.value) }

func guarded(operation func() (any, error)) (result any, err error) {
	defer func() {
		if value := recover(); value != nil {
			result, err = nil, refused{panicked{value}}
		}
	}()
	return operation()
}

func classOf(err error) string {
	var stopped panicked
	var unwritten checkpointError
	switch text := err.Error(); {
	case errors.As(err, &stopped):
		return "panic"
	case errors.As(err, &unwritten):
		return "checkpoint"
	case errors.Is(err, datastore.ErrUnknownPod):
		return "unknown-pod"
	case errors.Is(err, datastore.ErrNoAvailableIPInDataStore):
		return "no-address"
	case text == datastore.DuplicatedENIError:
		return "duplicate-eni"
	case text == datastore.IPAlreadyInStoreError:
		return "cidr-exists"
	case text == datastore.UnknownIPError:
		return "unknown-cidr"
	case text == datastore.IPInUseError:
		return "cidr-in-use"
	case text == datastore.ENIInUseError:
		return "eni-in-use"
	case strings.Contains(text, "unknown ENI"):
		return "unknown-eni"
	case strings.Contains(text, "PD is not enabled"):
		return "prefixes-off"
	case strings.Contains(text, "checkpointVersion"):
		return "checkpoint-version"
	}
	return "other"
}

// outcome makes the original's error a refusal.
func outcome(result any, err error) (any, error) {
	if err != nil {
		return nil, refused{err}
	}
	return result, nil
}

func (l *datastoreLevel) newHistory(argument []byte) (any, error) {
	var in struct {
		Prefixes bool            `json:"prefixes"`
		Cooldown json.RawMessage `json:"cooldown_s"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	os.Unsetenv("IP_COOLDOWN_PERIOD")
	if len(in.Cooldown) > 0 && string(in.Cooldown) != "null" {
		os.Setenv("IP_COOLDOWN_PERIOD", strings.Trim(string(in.Cooldown), `"`))
	}
	// What the former history scheduled must not reach into this one's metrics.
	time.Sleep(10 * time.Second)
	synctest.Wait()
	resetMetrics()
	l.metrics.restart()
	l.began, l.prefixes = time.Now(), in.Prefixes
	l.checkpoint, l.links = &checkpoint{}, &links{}
	l.store = datastore.NewDataStore(logger.Get(), l.checkpoint, in.Prefixes, 0)
	l.links.putInto(l.store)
	return nil, nil
}

func (l *datastoreLevel) pass(argument []byte) (any, error) {
	duration, err := decodeDuration(argument)
	if err != nil {
		return nil, err
	}
	time.Sleep(duration)
	return nil, nil
}

func (l *datastoreLevel) report(argument []byte) (any, error) {
	if err := decode(argument, &struct{}{}); err != nil {
		return nil, err
	}
	l.view, l.metrics.shown = storeView{}, nil
	return nil, nil
}

func (l *datastoreLevel) addENI(argument []byte) (any, error) {
	var in struct {
		ENI     string `json:"eni"`
		Device  int    `json:"device"`
		Primary bool   `json:"primary"`
		Trunk   bool   `json:"trunk"`
		EFA     bool   `json:"efa"`
		Table   int    `json:"table"`
		Subnet  string `json:"subnet"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	return outcome(nil, l.store.AddENI(in.ENI, in.Device, in.Primary, in.Trunk, in.EFA, in.Table, in.Subnet))
}

func (l *datastoreLevel) removeENI(argument []byte) (any, error) {
	var in struct {
		ENI   string `json:"eni"`
		Force bool   `json:"force"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	return outcome(nil, l.store.RemoveENIFromDataStore(in.ENI, in.Force))
}

func (l *datastoreLevel) exclude(argument []byte) (any, error) {
	in := struct {
		ENI      string `json:"eni"`
		Excluded bool   `json:"excluded"`
	}{Excluded: true}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	return outcome(nil, l.store.SetENIExcludedForPodIPs(in.ENI, in.Excluded))
}

func (l *datastoreLevel) addCIDR(argument []byte) (any, error) {
	var in struct {
		ENI    string `json:"eni"`
		CIDR   string `json:"cidr"`
		Prefix bool   `json:"prefix"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	cidr, six, err := parseCIDR(in.CIDR)
	if err != nil {
		return nil, err
	}
	if six {
		return outcome(nil, l.store.AddIPv6CidrToStore(in.ENI, cidr, in.Prefix))
	}
	return outcome(nil, l.store.AddIPv4CidrToStore(in.ENI, cidr, in.Prefix))
}

func (l *datastoreLevel) delCIDR(argument []byte) (any, error) {
	var in struct {
		ENI   string `json:"eni"`
		CIDR  string `json:"cidr"`
		Force bool   `json:"force"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	cidr, six, err := parseCIDR(in.CIDR)
	if err != nil {
		return nil, err
	}
	if six {
		return outcome(nil, l.store.DelIPv6CidrFromStore(in.ENI, cidr, in.Force))
	}
	return outcome(nil, l.store.DelIPv4CidrFromStore(in.ENI, cidr, in.Force))
}

func (l *datastoreLevel) assign(argument []byte) (any, error) {
	in := struct {
		Key        string `json:"key"`
		Pod        string `json:"pod"`
		Interfaces int    `json:"interfaces"`
		Family     int    `json:"family"`
	}{Family: 4}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	key, err := parseKey(in.Key)
	if err != nil {
		return nil, err
	}
	metadata, err := metadataOf(in.Pod, in.Interfaces)
	if err != nil {
		return nil, err
	}
	if in.Family != 4 && in.Family != 6 {
		return nil, fmt.Errorf("family: 4 or 6, got %d", in.Family)
	}
	four, six, device, table, err := l.store.AssignPodIPAddress(key, metadata, in.Family == 4, in.Family == 6)
	return outcome(map[string]any{"ip": four + six, "device": device, "table": table}, err)
}

func metadataOf(pod string, interfaces int) (metadata datastore.IPAMMetadata, err error) {
	metadata.InterfacesCount = interfaces
	if pod != "" {
		metadata.K8SPodNamespace, metadata.K8SPodName, err = parsePod(pod)
	}
	return metadata, err
}

func (l *datastoreLevel) unassign(argument []byte) (any, error) {
	var in struct {
		Key string `json:"key"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	key, err := parseKey(in.Key)
	if err != nil {
		return nil, err
	}
	eni, ip, device, interfaces, table, err := l.store.UnassignPodIPAddress(key)
	if err != nil {
		return nil, refused{err}
	}
	return map[string]any{"ip": ip, "eni": eni.ID, "device": device, "interfaces": interfaces, "table": table}, nil
}

func (l *datastoreLevel) removeUnused(argument []byte) (any, error) {
	var in struct {
		WarmIP     int `json:"warm_ip"`
		MinimumIP  int `json:"minimum_ip"`
		WarmPrefix int `json:"warm_prefix"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	return map[string]any{"eni": l.store.RemoveUnusedENIFromStore(in.WarmIP, in.MinimumIP, in.WarmPrefix)}, nil
}

type onENI struct {
	ENI string `json:"eni"`
}

func (l *datastoreLevel) freeable(argument []byte) (any, error) {
	var in onENI
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	all, addresses, prefixes := []string{}, []string{}, []string{}
	for _, cidr := range l.store.FindFreeableCidrs(in.ENI) {
		all = append(all, cidr.Cidr.String())
	}
	for _, cidr := range l.store.FreeableIPs(in.ENI) {
		addresses = append(addresses, cidr.String())
	}
	for _, cidr := range l.store.FreeablePrefixes(in.ENI) {
		prefixes = append(prefixes, cidr.String())
	}
	return map[string]any{"cidrs": ordered(all), "addresses": ordered(addresses), "prefixes": ordered(prefixes)}, nil
}

// ordered sorts by number, and is never nil.
func ordered(list []string) []string {
	if list == nil {
		return []string{}
	}
	sort.Slice(list, func(i, j int) bool { return precedes(list[i], list[j]) })
	return list
}

func (l *datastoreLevel) freeableENI(argument []byte) (any, error) {
	if err := decode(argument, &struct{}{}); err != nil {
		return nil, err
	}
	return map[string]any{"exists": l.store.CheckFreeableENIexists()}, nil
}

func (l *datastoreLevel) allocatable(argument []byte) (any, error) {
	var in struct {
		Max         int  `json:"max"`
		SkipPrimary bool `json:"skip_primary"`
	}
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	ids := []string{}
	for _, eni := range l.store.GetAllocatableENIs(in.Max, in.SkipPrimary) {
		ids = append(ids, eni.ID)
	}
	sort.Strings(ids)
	return map[string]any{"enis": ids}, nil
}

func (l *datastoreLevel) cidrs(argument []byte) (any, error) {
	var in onENI
	if err := decode(argument, &in); err != nil {
		return nil, err
	}
	addresses, prefixes, err := l.store.GetENICIDRs(in.ENI)
	return outcome(map[string]any{"addresses": ordered(addresses), "prefixes": ordered(prefixes)}, err)
}

func (l *datastoreLevel) pods(argument []byte) (any, error) {
	if err := decode(argument, &struct{}{}); err != nil {
		return nil, err
	}
	type pod struct {
		Key    string `json:"key"`
		IP     string `json:"ip"`
		Device int    `json:"device"`
	}
	pods := []pod{}
	for _, info := range l.store.AllocatedIPs() {
		pods = append(pods, pod{info.IPAMKey.String(), info.IP, info.DeviceNumber})
	}
	sort.Slice(pods, func(i, j int) bool { return precedes(pods[i].IP, pods[j].IP) })
	return map[string]any{"pods": pods}, nil
}
