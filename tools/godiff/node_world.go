package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

func sortedKeys[T any](from map[string]T) []string {
	keys := slices.Collect(maps.Keys(from))
	slices.Sort(keys)
	return append([]string{}, keys...)
}

func checkOperations(named map[string]milliseconds) error {
	for op := range named {
		if !slices.Contains(operations, op) {
			return fmt.Errorf("no EC2 operation %q; operations: %s", op, strings.Join(operations, ", "))
		}
	}
	return nil
}

// takeFaults ends the faults of an operation.
func (w *world) takeFaults(op string) {
	w.Faults = slices.DeleteFunc(w.Faults, func(one *fault) bool { return one.Op == op })
}

// checkSubnets refuses what addresses cannot be counted in.
func (w *world) checkSubnets() error {
	if len(w.Subnets) == 0 {
		return errors.New("subnets: at least one")
	}
	for _, one := range w.Subnets {
		block, err := netip.ParsePrefix(one.CIDR)
		if err != nil || !block.Addr().Is4() || block != block.Masked() || block.Bits() < 8 || block.Bits() > 26 {
			return fmt.Errorf("subnets: cidr of %q is an IPv4 block of /8 to /26, got %q", one.ID, one.CIDR)
		}
		if six, err := netip.ParsePrefix(one.CIDR6); one.CIDR6 != "" && (err != nil || !six.Addr().Is6() || six.Bits() != 64) {
			return fmt.Errorf("subnets: cidr6 of %q is an IPv6 block of /64, got %q", one.ID, one.CIDR6)
		}
	}
	return nil
}

// oneOf decodes a command that does one of several things.
func oneOf(argument []byte, things map[string]func([]byte) error) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(argument, &given); err != nil || len(given) != 1 {
		return fmt.Errorf("an object with one of: %s", strings.Join(sortedKeys(things), ", "))
	}
	for name, value := range given {
		do, known := things[name]
		if !known {
			return fmt.Errorf("no field %q; one of: %s", name, strings.Join(sortedKeys(things), ", "))
		}
		if err := do(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// into decodes a value and hands it on.
func into[T any](then func(T) error) func([]byte) error {
	return func(text []byte) error {
		var value T
		if err := decode(text, &value); err != nil {
			return err
		}
		return then(value)
	}
}

func (n *nodeLevel) changeWorld(argument []byte) error {
	w := n.world
	w.Lock()
	defer w.Unlock()
	return oneOf(argument, map[string]func([]byte) error{
		"lose_eni":  into(w.loseENI),
		"lose_cidr": into(w.loseCIDR),
		"give_cidr": into(w.giveCIDR),
		"attach":    into(func(in newENI) error { return w.attach(in, true) }),
		"create":    into(func(in newENI) error { return w.attach(in, false) }),
		"detach":    into(w.detach),
		"retag":     into(w.retag),
		"kind":      into(w.rekind),
		"subnet":    into(w.changeSubnet),
		"reuse":     into(w.reuse),
		"vpc_cidrs": into(func(list []string) error { w.VPC = list; return nil }),
		"groups":    into(func(list []string) error { w.Groups = list; return nil }),
	})
}

func (w *world) known(id string) (*eni, error) {
	if one := w.find(id); one != nil {
		return one, nil
	}
	ids := []string{}
	for _, one := range w.ENIs {
		ids = append(ids, one.ID)
	}
	return nil, fmt.Errorf("there is no ENI %q; ENIs: %s", id, strings.Join(ids, ", "))
}

func (w *world) loseENI(id string) error {
	one, err := w.known(id)
	if err != nil {
		return err
	}
	if one == w.ENIs[0] {
		return errors.New("the primary ENI cannot be lost")
	}
	w.remove(id)
	return nil
}

type cidrOfENI struct {
	ENI  string `json:"eni"`
	CIDR string `json:"cidr"`
}

// parts is the ENI, the list of it that the CIDR belongs to, and the CIDR's name in that list.
func (c cidrOfENI) parts(w *world) (one *eni, list *[]string, name string, err error) {
	if one, err = w.known(c.ENI); err != nil {
		return nil, nil, "", err
	}
	cidr, six, err := parseCIDR(c.CIDR)
	if err != nil {
		return nil, nil, "", err
	}
	ones, bits := cidr.Mask.Size()
	switch {
	case six && ones == 80:
		return one, &one.Prefixes6, cidr.String(), nil
	case !six && ones == bits:
		return one, &one.IPs, cidr.IP.String(), nil
	case !six && ones == 28:
		return one, &one.Prefixes, cidr.String(), nil
	}
	return nil, nil, "", fmt.Errorf("cidr: /32, /28 or an IPv6 /80, got %q", c.CIDR)
}

func (w *world) loseCIDR(in cidrOfENI) error {
	one, list, name, err := in.parts(w)
	if err != nil {
		return err
	}
	if !slices.Contains(*list, name) {
		return fmt.Errorf("%s is not on %s", in.CIDR, one.ID)
	}
	*list = without(*list, []string{name})
	w.changed()
	return nil
}

func (w *world) giveCIDR(in cidrOfENI) error {
	_, list, name, err := in.parts(w)
	if err != nil {
		return err
	}
	if slices.Contains(*list, name) {
		return fmt.Errorf("%s is on %s already", in.CIDR, in.ENI)
	}
	*list = append(*list, name)
	w.changed()
	return nil
}

// attach adds an ENI that somebody else made; without a device it gets the lowest free one.
func (w *world) attach(in newENI, attached bool) error {
	in.given.Attached = &attached
	if attached && in.Device == 0 {
		device, free := w.freeDevice()
		if !free {
			return fmt.Errorf("the instance has no room: its limit is %d ENIs", w.Limits.ENIs)
		}
		in.Device = device
	}
	return w.join(&in)
}

func (w *world) detach(id string) error {
	one, err := w.known(id)
	if err != nil {
		return err
	}
	if one == w.ENIs[0] {
		return errors.New("the primary ENI cannot be detached")
	}
	one.Attached = false
	w.status(one)
	w.changed()
	return nil
}

func (w *world) retag(in struct {
	ENI  string            `json:"eni"`
	Tags map[string]string `json:"tags"`
}) error {
	one, err := w.known(in.ENI)
	if err != nil {
		return err
	}
	one.Tags = copied(in.Tags)
	w.changed()
	return nil
}

func (w *world) rekind(in struct {
	ENI  string `json:"eni"`
	Kind string `json:"kind"`
}) error {
	one, err := w.known(in.ENI)
	if err != nil {
		return err
	}
	one.Kind = in.Kind
	w.changed()
	return nil
}

// changeSubnet adds a subnet or changes free and tags of one.
func (w *world) changeSubnet(in subnet) error {
	if one := w.subnet(in.ID); one != nil {
		one.Free, one.Tags = in.Free, in.Tags
		return nil
	}
	if in.ID == "" {
		return errors.New("id is missing")
	}
	w.Subnets = append(w.Subnets, &in)
	err := w.checkSubnets()
	if err != nil {
		w.Subnets = w.Subnets[:len(w.Subnets)-1]
	}
	return err
}

func (w *world) reuse(list []string) error {
	for _, one := range list {
		if !parseIP(one) {
			return fmt.Errorf("no address: %q", one)
		}
	}
	w.Reuse = list
	return nil
}

func (n *nodeLevel) imds(argument []byte) error {
	var in struct {
		What     string              `json:"what"`
		State    string              `json:"state"`
		Status   int                 `json:"status"`
		Latency  *milliseconds       `json:"latency_ms"`
		Lag      *milliseconds       `json:"lag_ms"`
		HideENIs *[]string           `json:"hide_enis"`
		Hide     map[string][]string `json:"hide"`
		Show     map[string][]string `json:"show"`
	}
	if err := decode(argument, &in); err != nil {
		return err
	}
	if (in.What == "") != (in.State == "") {
		return errors.New("what and state are given together")
	}
	n.world.Lock()
	defer n.world.Unlock()
	state := &n.world.IMDS
	switch in.State {
	case "":
	case "up":
		delete(state.Broken, in.What)
	case "missing":
		state.Broken[in.What] = http.StatusNotFound
	case "down":
		state.Broken[in.What] = http.StatusInternalServerError
		if in.Status != 0 {
			state.Broken[in.What] = in.Status
		}
	default:
		return fmt.Errorf("state: up, down or missing, got %q", in.State)
	}
	if in.Latency != nil {
		state.Latency = *in.Latency
	}
	if in.Lag != nil {
		state.Lag = *in.Lag
	}
	if in.HideENIs != nil {
		state.Hidden = *in.HideENIs
	}
	if in.Hide != nil {
		state.Hide = in.Hide
	}
	if in.Show != nil {
		state.Show = in.Show
	}
	return nil
}

func (n *nodeLevel) kube(argument []byte) error {
	w := n.world
	w.Lock()
	defer w.Unlock()
	return oneOf(argument, map[string]func([]byte) error{
		"api_server": into(func(up bool) error { w.Kube.Down = !up; return nil }),
		"cninode":    into(func(there bool) error { w.Kube.CNINode = there; return nil }),
		"node": func(text []byte) error {
			node := w.Kube.Node
			if err := decode(text, &node); err != nil {
				return err
			}
			w.Kube.Node = node
			return unsupported(nil, node)
		},
		"pods": into(func(pods map[string]*podObject) error {
			maps.Copy(w.Kube.Pods, pods)
			return nil
		}),
		"eni_configs": into(func(configs map[string]eniConfigObject) error { w.Kube.ENIConfigs = configs; return nil }),
		"fail":        into(func(in failing) error { return addFailing(&w.Kube.Fails, in, kubeCalls) }),
	})
}

var (
	kubeCalls = []string{"get node", "get cninode", "get eniconfig", "get pod", "patch cninode", "patch pod"}
	hostCalls = []string{"SetupHostNetwork", "SetupENINetwork", "UpdateHostSNATRules", "GetRuleList", "UpdateRuleListBySrc", "DeleteRulesBySrc"}
)

// addFailing replaces what was said of the call; without text and times it works again.
func addFailing(list *[]*failing, in failing, calls []string) error {
	if !slices.Contains(calls, in.Call) {
		return fmt.Errorf("call: one of %s, got %q", strings.Join(calls, ", "), in.Call)
	}
	if in.Times != nil && *in.Times < 1 {
		return fmt.Errorf("times: 1 or more, got %d", *in.Times)
	}
	*list = slices.DeleteFunc(*list, func(one *failing) bool { return one.Call == in.Call })
	if in.Text != "" || in.Times != nil {
		*list = append(*list, &in)
	}
	return nil
}

func (n *nodeLevel) host(argument []byte) error {
	w := n.world
	w.Lock()
	defer w.Unlock()
	veth := func(there bool) func(string) error {
		return func(pod string) error {
			if _, _, err := parsePod(pod); err != nil {
				return err
			}
			if there {
				w.Host.Pods[pod] = true
			} else {
				delete(w.Host.Pods, pod)
			}
			return nil
		}
	}
	return oneOf(argument, map[string]func([]byte) error{
		"missing_links": into(func(ids []string) error { w.Host.Missing = ids; return nil }),
		"fail":          into(func(in failing) error { return addFailing(&w.Host.Fails, in, hostCalls) }),
		"drop_veth":     into(veth(false)),
		"add_veth":      into(veth(true)),
	})
}
