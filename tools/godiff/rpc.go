package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
	"github.com/aws/amazon-vpc-cni-k8s/rpc"
)

type reply struct {
	RPC       string         `json:"rpc"`
	Key       string         `json:"key"`
	Start     int64          `json:"start_us"`
	End       int64          `json:"end_us"`
	Success   bool           `json:"success"`
	Error     string         `json:"error,omitempty"`
	Addresses []replyAddress `json:"addresses,omitempty"`
	VPC       []string       `json:"vpc_cidrs,omitempty"`
	VLAN      int32          `json:"vlan,omitempty"`
}

type replyAddress struct {
	V4     string `json:"v4,omitempty"`
	V6     string `json:"v6,omitempty"`
	Device int32  `json:"device"`
	Table  int32  `json:"table"`
}

// request is add or del.
type request struct {
	Key        string `json:"key"`
	Pod        string `json:"pod"`
	UID        string `json:"uid"`
	Background bool   `json:"background"`
	Direct     bool   `json:"direct"`
	Version    string `json:"version"`
	Reason     string `json:"reason"`

	parsed          datastore.IPAMKey
	namespace, name string
}

func decodeRequest(argument []byte) (*request, error) {
	in := &request{Reason: "PodDeleted"}
	if len(argument) > 0 && argument[0] == '"' {
		if err := json.Unmarshal(argument, &in.Key); err != nil {
			return nil, err
		}
	} else if err := decode(argument, in); err != nil {
		return nil, err
	}
	var err error
	if in.parsed, err = parseKey(in.Key); err != nil {
		return nil, err
	}
	if in.Pod == "" {
		in.Pod = "default/" + in.parsed.ContainerID
	}
	in.namespace, in.name, err = parsePod(in.Pod)
	return in, err
}

func (n *nodeLevel) add(argument []byte) error { return n.request(argument, "add", n.life.add) }

func (n *nodeLevel) del(argument []byte) error { return n.request(argument, "del", n.life.del) }

func (n *nodeLevel) request(argument []byte, name string, serve func(*request, *reply) error) error {
	in, err := decodeRequest(argument)
	if err != nil {
		return err
	}
	answer := reply{RPC: name, Key: in.parsed.String(), Start: now()}
	run := func() {
		if err := serve(in, &answer); err != nil {
			answer.Success, answer.Error = false, err.Error()
		}
		n.world.enter()
		defer n.world.Unlock()
		answer.End = now()
		n.world.Log.Replies = append(n.world.Log.Replies, answer)
	}
	if in.Background {
		go run()
	} else {
		run()
	}
	return nil
}

// listening says whether the agent answers requests.
func (l *life) listening() error {
	l.enter()
	defer l.Unlock()
	if l.ready == nil {
		return fmt.Errorf("rpc error: code = Unavailable desc = the agent does not listen: its life is %s", l.form().State)
	}
	return nil
}

func (l *life) add(in *request, answer *reply) error {
	if err := l.listening(); err != nil {
		return err
	}
	if in.Direct {
		metadata := datastore.IPAMMetadata{K8SPodNamespace: in.namespace, K8SPodName: in.name, InterfacesCount: 1}
		four, six, device, table, err := l.store.AssignPodIPAddress(in.parsed, metadata, isIPv4Enabled(), isIPv6Enabled())
		if err == nil {
			answer.Success, answer.Addresses = true, []replyAddress{{four, six, int32(device), int32(table)}}
			l.veth(in.Pod, true)
		}
		return err
	}
	got, err := addNetwork(&rpcServer{"", l.pool}, context.Background(), &rpc.AddNetworkRequest{
		ContainerID: in.parsed.ContainerID, IfName: in.parsed.IfName, NetworkName: in.parsed.NetworkName, ClientVersion: in.Version,
		K8S_POD_NAME: in.name, K8S_POD_NAMESPACE: in.namespace, K8S_POD_INFRA_CONTAINER_ID: in.parsed.ContainerID,
	})
	if got != nil {
		answer.Success, answer.Addresses, answer.VPC, answer.VLAN = got.Success, addressesOf(got.IPAllocationMetadata), append(got.VPCv4CIDRs, got.VPCv6CIDRs...), got.PodVlanId
	}
	if err == nil && answer.Success {
		l.veth(in.Pod, true)
	}
	return err
}

func (l *life) del(in *request, answer *reply) error {
	l.veth(in.Pod, false)
	if err := l.listening(); err != nil {
		return err
	}
	if in.Direct {
		_, ip, device, _, table, err := l.store.UnassignPodIPAddress(in.parsed)
		if err == nil {
			answer.Success, answer.Addresses = true, []replyAddress{repliedAddress(ip, device, table)}
		}
		return err
	}
	got, err := delNetwork(&rpcServer{"", l.pool}, context.Background(), &rpc.DelNetworkRequest{
		ContainerID: in.parsed.ContainerID, IfName: in.parsed.IfName, NetworkName: in.parsed.NetworkName, ClientVersion: in.Version, Reason: in.Reason,
		K8S_POD_NAME: in.name, K8S_POD_NAMESPACE: in.namespace, K8S_POD_UID: in.UID, K8S_POD_INFRA_CONTAINER_ID: in.parsed.ContainerID,
	})
	if got != nil {
		answer.Success, answer.Addresses, answer.VLAN = got.Success, addressesOf(got.IPAllocationMetadata), got.PodVlanId
	}
	return err
}

// veth is the pod's link on the host, which the plugin makes and removes.
func (l *life) veth(pod string, there bool) {
	l.enter()
	defer l.Unlock()
	if there {
		l.Host.Pods[pod] = true
	} else {
		delete(l.Host.Pods, pod)
	}
}

func repliedAddress(ip string, device, table int) replyAddress {
	if strings.Contains(ip, ":") {
		return replyAddress{V6: ip, Device: int32(device), Table: int32(table)}
	}
	return replyAddress{V4: ip, Device: int32(device), Table: int32(table)}
}

func addressesOf(list []*rpc.IPAllocationMetadata) []replyAddress {
	var forms []replyAddress
	for _, one := range list {
		forms = append(forms, replyAddress{one.IPv4Addr, one.IPv6Addr, one.DeviceNumber, one.RouteTableId})
	}
	return forms
}
