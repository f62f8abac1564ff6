package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing/synctest"
	"time"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/vpc"
	"github.com/aws/amazon-vpc-cni-k8s/utils/prometheusmetrics"
	"github.com/prometheus/client_golang/prometheus"
)

// nodeLevel drives a whole node.
type nodeLevel struct {
	world    *world
	life     *life
	view     storeView
	metrics  metricsView
	lines    *lines
	commands map[string]func(*nodeLevel, []byte) error
	// whole: the next answer has everything.
	whole bool
}

type nodeAnswer struct {
	At   int64    `json:"at_us"`
	Life lifeForm `json:"life"`
	record
	Flying  []flyingCall  `json:"flying,omitempty"`
	Store   *storeChange  `json:"store,omitempty"`
	Metrics metricsChange `json:"metrics"`
	World   *worldForm    `json:"world,omitempty"`
}

// worldForm is EC2's truth and what outlives the process.
type worldForm struct {
	ENIs    any      `json:"enis"`
	Subnets any      `json:"subnets"`
	Veths   []string `json:"veths"`
	Entries []entry  `json:"entries"`
}

// newNodeLevel is the level, and its lines: those of the former life if this process continues a history.
func newNodeLevel() (*nodeLevel, *lines) {
	registry := prometheus.NewRegistry()
	prometheus.DefaultRegisterer, prometheus.DefaultGatherer = registry, registry
	prometheusmetrics.PrometheusRegister()
	level := &nodeLevel{
		metrics: metricsView{registry: registry},
		commands: map[string]func(*nodeLevel, []byte) error{
			"boot": (*nodeLevel).boot, "pass": (*nodeLevel).pass, "wait_ready": (*nodeLevel).waitReady, "report": (*nodeLevel).report,
			"add": (*nodeLevel).add, "del": (*nodeLevel).del, "fault": (*nodeLevel).fault, "imds": (*nodeLevel).imds,
			"world": (*nodeLevel).changeWorld, "kube": (*nodeLevel).kube, "host": (*nodeLevel).host,
			"checkpoint": (*nodeLevel).failCheckpoint, "targets": (*nodeLevel).targets, "leak_scan": (*nodeLevel).leakScan,
			"terminate": (*nodeLevel).terminate, "restart": (*nodeLevel).restart,
		},
	}
	level.lines = level.resume()
	return level, level.lines
}

func (n *nodeLevel) handle(name string, argument []byte) (any, error) {
	command, known := n.commands[name]
	if !known {
		return nil, unknownCommand(n.commands)
	}
	if n.world == nil && name != "boot" {
		return nil, errors.New("there is no node yet; begin with boot")
	}
	if err := command(n, argument); err != nil {
		return nil, err
	}
	return n.answer(), nil
}

// answer is what has changed since the last one.
func (n *nodeLevel) answer() nodeAnswer {
	synctest.Wait()
	n.world.Lock()
	answer := nodeAnswer{At: now(), Life: n.life.form(), record: n.world.Log}
	for _, one := range n.world.Log.flying {
		answer.Flying = append(answer.Flying, flyingCall{one.Op, one.Arguments, one.Start})
	}
	n.world.Log = record{flying: n.world.Log.flying}
	store := n.life.store
	if n.whole {
		answer.World = &worldForm{
			ENIs: plain(n.world.ENIs), Subnets: plain(n.world.Subnets), Veths: sortedKeys(n.world.Host.Pods),
			Entries: (&checkpoint{content: n.world.Checkpoint.Content}).entries(began),
		}
		n.whole, n.view, n.metrics.shown = false, storeView{}, nil
	}
	n.world.Unlock()
	if store != nil {
		change := n.view.changes(store, began)
		answer.Store = &change
	}
	answer.Metrics = n.metrics.changes()
	return answer
}

type bootCommand struct {
	Settings    map[string]string          `json:"settings"`
	Limits      limits                     `json:"limits"`
	Node        nodeObject                 `json:"node"`
	Subnets     []*subnet                  `json:"subnets"`
	ENIs        []newENI                   `json:"enis"`
	VPC         []string                   `json:"vpc_cidrs"`
	Groups      []string                   `json:"groups"`
	Latency     milliseconds               `json:"latency_ms"`
	Latencies   map[string]milliseconds    `json:"latencies_ms"`
	IMDSLatency milliseconds               `json:"imds_latency_ms"`
	IMDSLag     milliseconds               `json:"imds_lag_ms"`
	APIServer   bool                       `json:"api_server"`
	CNINode     bool                       `json:"cninode"`
	TrunkAfter  float64                    `json:"trunk_after_ms"`
	ENIConfigs  map[string]eniConfigObject `json:"eni_configs"`
	Seed        int64                      `json:"seed"`
	Jitter      bool                       `json:"jitter"`
	LogIMDS     bool                       `json:"log_imds"`
}

// newENI is an ENI of a command: attached unless it says otherwise.
type newENI struct {
	eni
	given struct {
		Attached *bool `json:"attached"`
	}
}

func (e *newENI) UnmarshalJSON(text []byte) error {
	if err := decode(text, &e.eni); err != nil {
		return err
	}
	return json.Unmarshal(text, &e.given)
}

func (n *nodeLevel) boot(argument []byte) error {
	in := bootCommand{
		Node:    nodeObject{MaxPods: 110},
		Subnets: []*subnet{{ID: "subnet-a", CIDR: "10.0.0.0/16", Free: 1000}},
		VPC:     []string{"10.0.0.0/8"}, Groups: []string{"sg-1"}, Latency: 150, APIServer: true, TrunkAfter: -1, Seed: 1, Jitter: true,
	}
	if err := decode(argument, &in); err != nil {
		return err
	}
	if err := unsupported(in.Settings, in.Node); err != nil {
		return err
	}
	if err := checkOperations(in.Latencies); err != nil {
		return err
	}
	settings := map[string]string{"ENABLE_IPv4": "true", "ENABLE_IPv6": "false"}
	for name, value := range in.Settings {
		settings[name] = value
	}
	w := &world{
		Settings: settings, Limits: in.Limits, Seed: in.Seed, Jitter: in.Jitter, LogIMDS: in.LogIMDS, VPC: in.VPC, Groups: in.Groups,
		Latency: in.Latency, Latencies: in.Latencies, Subnets: in.Subnets,
		IMDS: imdsState{Latency: in.IMDSLatency, Lag: in.IMDSLag, Broken: map[string]int{}},
		Host: hostState{Pods: map[string]bool{}},
		Kube: kubeState{
			Down: !in.APIServer, Node: in.Node, CNINode: in.CNINode, ENIConfigs: in.ENIConfigs, Pods: map[string]*podObject{}, TrunkAfter: in.TrunkAfter,
		},
	}
	if err := w.settleLimits(); err != nil {
		return err
	}
	if err := w.checkSubnets(); err != nil {
		return err
	}
	if len(in.ENIs) == 0 {
		in.ENIs = []newENI{{}}
	}
	for i := range in.ENIs {
		if err := w.join(&in.ENIs[i]); err != nil {
			return err
		}
	}
	if first := w.ENIs[0]; first.Device != 0 || !first.Attached {
		return errors.New("enis: the first one is the primary ENI: attached, device 0")
	}
	w.ENIs[0].Deletes = true
	n.retire()
	for _, one := range w.ENIs {
		one.Created = 0
	}
	w.Snapshots = nil
	w.changed()
	n.world = w
	w.seed(0)
	n.life = w.begin(1)
	return nil
}

// retire ends the former history of this process: its tasks park, and its metrics and settings go.
func (n *nodeLevel) retire() {
	if n.world == nil {
		began = time.Now()
		return
	}
	n.world.Lock()
	n.world.dead = true
	n.world.Unlock()
	// Each periodic task comes to something that parks it within three hours.
	time.Sleep(time.Until(time.Now().Add(2 * apart).Truncate(apart)))
	synctest.Wait()
	for name := range n.world.Settings {
		os.Unsetenv(name)
	}
	restoreLimits()
	resetMetrics()
	n.metrics.restart()
	began = time.Now()
}

// A history that is not the first of its process begins at a multiple of this.
const apart = 8 * time.Hour

// settleLimits takes what was not given from the original's table.
func (w *world) settleLimits() error {
	if (w.Limits.ENIs == 0) != (w.Limits.IPs == 0) || w.Limits.ENIs < 0 || w.Limits.IPs < 0 {
		return errors.New("limits: enis and ips are both 1 or more, or both absent")
	}
	if w.Limits.Hypervisor == "" {
		w.Limits.Hypervisor = "nitro"
	}
	if w.Limits.Type == "" {
		w.Limits.Type = anyType
		if w.Limits.ENIs == 0 {
			w.Limits.ENIs, w.Limits.IPs = 3, 10
		}
	}
	if w.Limits.ENIs == 0 {
		if known, there := vpc.GetInstance(w.Limits.Type); there {
			w.Limits.ENIs, w.Limits.IPs, w.Limits.Hypervisor, w.Limits.BareMetal = known.ENILimit, known.IPv4Limit, known.HypervisorType, known.IsBareMetal
		}
	}
	return nil
}

// join adds an ENI that a command describes.
func (w *world) join(in *newENI) error {
	in.Attached = in.given.Attached == nil || *in.given.Attached
	made := in.eni
	made.MAC, made.Status = in.MAC, ""
	_, err := w.complete(&made)
	return err
}

func (n *nodeLevel) pass(argument []byte) error {
	duration, err := decodeDuration(argument)
	if err == nil {
		time.Sleep(duration)
	}
	return err
}

func (n *nodeLevel) waitReady(argument []byte) error {
	limit, err := decodeDuration(argument)
	if err != nil {
		return err
	}
	select {
	case <-n.life.ended:
	case <-time.After(limit):
	}
	return nil
}

func (n *nodeLevel) report(argument []byte) error {
	n.whole = true
	return decode(argument, &struct{}{})
}

func (n *nodeLevel) fault(argument []byte) error {
	var in fault
	if err := decode(argument, &in); err != nil {
		return err
	}
	if err := checkOperations(map[string]milliseconds{in.Op: 0}); err != nil {
		return err
	}
	if in.Times != nil && *in.Times < 1 {
		return fmt.Errorf("times: 1 or more, got %d; without code and fate the fault ends", *in.Times)
	}
	clear := in.Code == "" && in.Fate == ""
	if in.Fate == "" {
		in.Fate = fateRefused
	}
	if in.Fate != fateRefused && in.Fate != fateNotSent && in.Fate != fateUnknown {
		return fmt.Errorf("fate: refused, not-sent or unknown, got %q", in.Fate)
	}
	if in.Fate == fateRefused && in.Code == "" && !clear {
		return errors.New("code: an answer with an error has a code")
	}
	n.world.Lock()
	defer n.world.Unlock()
	n.world.takeFaults(in.Op)
	if !clear {
		n.world.Faults = append(n.world.Faults, &in)
	}
	return nil
}

func (n *nodeLevel) failCheckpoint(argument []byte) error {
	var in struct {
		Fail string `json:"fail"`
	}
	if err := decode(argument, &in); err != nil {
		return err
	}
	n.world.Lock()
	n.world.Checkpoint.Fail = in.Fail
	n.world.Unlock()
	return nil
}

func (n *nodeLevel) targets(argument []byte) error {
	var in struct {
		WarmENI    *int `json:"warm_eni"`
		WarmIP     *int `json:"warm_ip"`
		MinimumIP  *int `json:"minimum_ip"`
		WarmPrefix *int `json:"warm_prefix"`
	}
	if err := decode(argument, &in); err != nil {
		return err
	}
	for name, value := range map[string]*int{
		"warmENITarget": in.WarmENI, "warmIPTarget": in.WarmIP, "minimumIPTarget": in.MinimumIP, "warmPrefixTarget": in.WarmPrefix,
	} {
		if value != nil {
			set(n.life.pool, *value, name)
		}
	}
	return nil
}

func (n *nodeLevel) leakScan(argument []byte) error {
	if err := decode(argument, &struct{}{}); err != nil {
		return err
	}
	if n.life.store == nil {
		return errors.New("the life has no client of EC2 yet")
	}
	cleanUpLeakedENIsInternal(n.life.aws, context.Background(), 0)
	return nil
}

func (n *nodeLevel) terminate(argument []byte) error {
	if err := decode(argument, &struct{}{}); err != nil {
		return err
	}
	n.life.terminating = true
	setTerminating(n.life.pool)
	return nil
}
