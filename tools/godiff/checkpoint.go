package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"sort"
	"time"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/netlinkwrapper"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/networkutils"
	"github.com/vishvananda/netlink"
)

// checkpointError is the text that a command gave for a file that cannot be written or read.
type checkpointError string

func (e checkpointError) Error() string { return string(e) }

// checkpoint is the original's file of owners, in memory: the same JSON.
type checkpoint struct {
	content []byte // nil: there is no file
	writes  int
	fail    string // text of the error of each write
	unread  string // text of the error of each read
}

func (c *checkpoint) Checkpoint(data any) error {
	if c.fail != "" {
		return checkpointError(c.fail)
	}
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(data); err != nil {
		return err
	}
	c.content = text.Bytes()
	c.writes++
	return nil
}

func (c *checkpoint) Restore(into any) error {
	if c.unread != "" {
		return checkpointError(c.unread)
	}
	if c.content == nil {
		return os.ErrNotExist
	}
	return json.NewDecoder(bytes.NewReader(c.content)).Decode(into)
}

// entry is one owner in the checkpoint.
type entry struct {
	Key        string `json:"key"`
	IPv4       string `json:"ipv4,omitempty"`
	IPv6       string `json:"ipv6,omitempty"`
	Pod        string `json:"pod,omitempty"`
	Interfaces int    `json:"interfaces,omitempty"`
	Assigned   int64  `json:"assigned_us"`
}

// entries are what the file says, sorted by address.
func (c *checkpoint) entries(began time.Time) []entry {
	var data datastore.CheckpointData
	list := []entry{}
	if c.content == nil || json.Unmarshal(c.content, &data) != nil {
		return list
	}
	for _, allocation := range data.Allocations {
		list = append(list, entry{
			Key: allocation.IPAMKey.String(), IPv4: allocation.IPv4, IPv6: allocation.IPv6, Pod: podText(allocation.Metadata),
			Interfaces: allocation.Metadata.InterfacesCount, Assigned: time.Unix(0, allocation.AllocationTimestamp).Sub(began).Microseconds(),
		})
	}
	sort.SliceStable(list, func(i, j int) bool { return precedes(list[i].IPv4+list[i].IPv6, list[j].IPv4+list[j].IPv6) })
	return list
}

// put makes entries the content of the file.
func (c *checkpoint) put(list []entry, version string, began time.Time) error {
	data := datastore.CheckpointData{Version: version, Allocations: []datastore.CheckpointEntry{}}
	for _, one := range list {
		key, err := parseKey(one.Key)
		if err != nil {
			return err
		}
		metadata, err := metadataOf(one.Pod, one.Interfaces)
		if err != nil {
			return err
		}
		data.Allocations = append(data.Allocations, datastore.CheckpointEntry{
			IPAMKey: key, IPv4: one.IPv4, IPv6: one.IPv6, Metadata: metadata,
			AllocationTimestamp: began.Add(time.Duration(one.Assigned) * time.Microsecond).UnixNano(),
		})
	}
	text, err := json.Marshal(data)
	c.content = text
	return err
}

// links are the host's network links as the store sees them: one veth per pod, of the world if there is one.
type links struct {
	netlinkwrapper.NetLink
	pods  map[string]bool // NAMESPACE/NAME
	world *world
}

// putInto makes the store see these links.
func (l *links) putInto(store *datastore.DataStore) {
	set(store, netlinkwrapper.NetLink(l), "netLink")
}

func (l *links) LinkList() ([]netlink.Link, error) {
	pods := l.pods
	if l.world != nil {
		l.world.Lock()
		defer l.world.Unlock()
		pods = l.world.Host.Pods
	}
	list := make([]netlink.Link, 0, len(pods))
	for pod := range pods {
		namespace, name, err := parsePod(pod)
		if err != nil {
			return nil, err
		}
		list = append(list, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: networkutils.GeneratePodHostVethName("eni", namespace, name, 0)}})
	}
	return list, nil
}

func (l *links) NewRule() *netlink.Rule { return netlink.NewRule() }

func (l *links) RuleDel(*netlink.Rule) error { return nil }

// parseIP says whether text is an address.
func parseIP(text string) bool { return net.ParseIP(text) != nil }
