package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// eni is a network interface in EC2.
type eni struct {
	ID          string            `json:"id"`
	MAC         string            `json:"mac"`
	Subnet      string            `json:"subnet"`
	Device      int               `json:"device"`
	Card        int               `json:"card"`
	Primary     string            `json:"primary"`
	Primary6    string            `json:"primary6,omitempty"`
	IPs         []string          `json:"ips"`
	Prefixes    []string          `json:"prefixes"`
	Prefixes6   []string          `json:"prefixes6"`
	Tags        map[string]string `json:"tags"`
	Kind        string            `json:"kind"`
	Description string            `json:"description"`
	Status      string            `json:"status"`
	Attached    bool              `json:"attached"`
	Groups      []string          `json:"groups,omitempty"`
	Created     int64             `json:"created_us"`
	Deletes     bool              `json:"delete_on_termination"`
}

// attachment is the id of the ENI's attachment.
func (e *eni) attachment() string { return "attach-" + e.ID }

func (e *eni) clone() *eni {
	copied := *e
	copied.IPs, copied.Prefixes, copied.Prefixes6 = orEmpty(e.IPs), orEmpty(e.Prefixes), orEmpty(e.Prefixes6)
	copied.Groups = slices.Clone(e.Groups)
	copied.Tags = map[string]string{}
	for key, value := range e.Tags {
		copied.Tags[key] = value
	}
	return &copied
}

// subnet is a subnet of the VPC. Free is how many addresses EC2 still gives out.
type subnet struct {
	ID    string            `json:"id"`
	CIDR  string            `json:"cidr"`
	CIDR6 string            `json:"cidr6"`
	Free  int               `json:"free"`
	Tags  map[string]string `json:"tags"`
	// Next is how many addresses and Next16 how many prefixes were given out, Next6 how many of IPv6.
	Next   int `json:"next,omitempty"`
	Next16 int `json:"next16,omitempty"`
	Next6  int `json:"next6,omitempty"`
}

// snapshot is what the metadata service shows a while later.
type snapshot struct {
	At   int64  `json:"at_us"`
	ENIs []*eni `json:"enis"`
}

// limits of the instance.
type limits struct {
	Type       string `json:"type"`
	ENIs       int    `json:"enis"`
	IPs        int    `json:"ips"`
	Hypervisor string `json:"hypervisor"`
	BareMetal  bool   `json:"bare_metal"`
}

// world is everything outside the process under test. It outlives the lives of that process.
type world struct {
	sync.Mutex `json:"-"`

	Settings  map[string]string       `json:"settings"`
	Limits    limits                  `json:"limits"`
	Seed      int64                   `json:"seed"`
	Jitter    bool                    `json:"jitter"`
	LogIMDS   bool                    `json:"log_imds"`
	VPC       []string                `json:"vpc_cidrs"`
	Groups    []string                `json:"groups"`
	Latency   milliseconds            `json:"latency_ms"`
	Latencies map[string]milliseconds `json:"latencies_ms"`

	ENIs    []*eni    `json:"enis"`
	Subnets []*subnet `json:"subnets"`
	NextENI int       `json:"next_eni"`
	Reuse   []string  `json:"reuse"`
	Faults  []*fault  `json:"faults"`

	IMDS       imdsState  `json:"imds"`
	Kube       kubeState  `json:"kube"`
	Host       hostState  `json:"host"`
	Checkpoint fileState  `json:"checkpoint"`
	Snapshots  []snapshot `json:"snapshots"`

	Log record `json:"log"`

	// dead: the history is over, and who comes here stays here.
	dead bool
}

// enter locks the world for one of the process's tasks. It never returns when the history is over.
func (w *world) enter() {
	w.Lock()
	if w.dead {
		w.Unlock()
		select {}
	}
}

// fileState is the checkpoint.
type fileState struct {
	Content []byte `json:"content"`
	Fail    string `json:"fail"`
}

// record is what has ended since the last answer.
type record struct {
	Calls   []call         `json:"calls,omitempty"`
	Replies []reply        `json:"replies,omitempty"`
	Host    []hostCall     `json:"host,omitempty"`
	Kube    []kubeCall     `json:"kube,omitempty"`
	Events  []event        `json:"events,omitempty"`
	IMDS    []metadataRead `json:"imds,omitempty"`
	flying  []*call
}

type call struct {
	Op        string         `json:"op"`
	Arguments map[string]any `json:"arguments"`
	Start     int64          `json:"start_us"`
	End       int64          `json:"end_us"`
	Result    any            `json:"result,omitempty"`
	Error     *callError     `json:"error,omitempty"`
}

// flyingCall is one that has begun and not ended.
type flyingCall struct {
	Op        string         `json:"op"`
	Arguments map[string]any `json:"arguments"`
	Start     int64          `json:"start_us"`
}

type callError struct {
	Code string `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
	Fate string `json:"fate"`
}

type event struct {
	At     int64  `json:"at_us"`
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Action string `json:"action"`
	Text   string `json:"text"`
}

// now is the microseconds since the history began.
func now() int64 { return time.Since(began).Microseconds() }

func (w *world) find(id string) *eni {
	for _, one := range w.ENIs {
		if one.ID == id {
			return one
		}
	}
	return nil
}

func (w *world) subnet(id string) *subnet {
	for _, one := range w.Subnets {
		if one.ID == id {
			return one
		}
	}
	return nil
}

// changed notes what the metadata service will show. Call it after each change of ENIs.
func (w *world) changed() {
	shot := snapshot{At: now()}
	for _, one := range w.ENIs {
		shot.ENIs = append(shot.ENIs, one.clone())
	}
	w.Snapshots = append(w.Snapshots, shot)
	if len(w.Snapshots) > 256 {
		w.Snapshots = w.Snapshots[len(w.Snapshots)-256:]
	}
}

// shown are the ENIs as they were this long ago; the oldest that is known if that is younger.
func (w *world) shown(ago time.Duration) []*eni {
	if ago <= 0 || len(w.Snapshots) == 0 {
		return w.ENIs
	}
	moment := now() - ago.Microseconds()
	for i := len(w.Snapshots) - 1; i >= 0; i-- {
		if w.Snapshots[i].At <= moment {
			return w.Snapshots[i].ENIs
		}
	}
	return w.Snapshots[0].ENIs
}

// complete fills what was not given of a new ENI, and adds it.
func (w *world) complete(e *eni) (*eni, error) {
	w.NextENI++
	if e.ID == "" {
		e.ID = fmt.Sprintf("eni-%08d", w.NextENI)
	}
	if w.find(e.ID) != nil {
		return nil, fmt.Errorf("enis: there is an ENI %q already", e.ID)
	}
	if e.MAC == "" {
		e.MAC = fmt.Sprintf("02:00:00:00:%02x:%02x", w.NextENI/256%256, w.NextENI%256)
	}
	if e.Subnet == "" {
		e.Subnet = w.Subnets[0].ID
	}
	in := w.subnet(e.Subnet)
	if in == nil {
		return nil, fmt.Errorf("enis: there is no subnet %q", e.Subnet)
	}
	if e.Primary == "" {
		e.Primary = w.address(in)
	}
	if e.Primary6 == "" && in.CIDR6 != "" {
		e.Primary6 = w.address6(in)
	}
	if e.Kind == "" {
		e.Kind = "interface"
	}
	if e.Tags == nil {
		e.Tags = map[string]string{}
	}
	if e.Groups == nil {
		e.Groups = slices.Clone(w.Groups)
	}
	for _, list := range []*[]string{&e.IPs, &e.Prefixes, &e.Prefixes6} {
		*list = orEmpty(*list)
	}
	e.Created = now()
	w.ENIs = append(w.ENIs, e)
	w.status(e)
	w.changed()
	return e, nil
}

func (w *world) status(e *eni) {
	e.Status = "available"
	if e.Attached {
		e.Status = "in-use"
	}
}

// remove takes an ENI out of EC2 and gives its addresses back.
func (w *world) remove(id string) {
	gone := w.find(id)
	if gone == nil {
		return
	}
	if in := w.subnet(gone.Subnet); in != nil {
		in.Free += 1 + len(gone.IPs) + 16*len(gone.Prefixes)
	}
	w.ENIs = slices.DeleteFunc(w.ENIs, func(e *eni) bool { return e.ID == id })
	w.changed()
}

// address takes one out of the subnet: those that were asked for first, then in order, never one twice.
func (w *world) address(in *subnet) string {
	in.Free--
	if len(w.Reuse) > 0 {
		next := w.Reuse[0]
		w.Reuse = w.Reuse[1:]
		return next
	}
	in.Next++
	return nth(in.CIDR, uint64(in.Next)+3)
}

// prefix takes a /28 out of the upper half of the subnet.
func (w *world) prefix(in *subnet) string {
	in.Free -= 16
	in.Next16++
	block := netip.MustParsePrefix(in.CIDR)
	half := uint64(1) << (31 - block.Bits())
	return nth(in.CIDR, half+uint64(in.Next16)*16) + "/28"
}

func (w *world) address6(in *subnet) string {
	in.Next6++
	return nth(in.CIDR6, uint64(in.Next6)+3)
}

// prefix6 is the next /80.
func (w *world) prefix6(in *subnet) string {
	in.Next6++
	base := netip.MustParsePrefix(in.CIDR6).Addr().As16()
	base[8], base[9] = byte(in.Next6>>8)|0x80, byte(in.Next6)
	return netip.AddrFrom16(base).String() + "/80"
}

// nth is the nth address of a block.
func nth(cidr string, n uint64) string {
	bytes := netip.MustParsePrefix(cidr).Addr().AsSlice()
	for i := len(bytes) - 1; i >= 0 && n > 0; i-- {
		n += uint64(bytes[i])
		bytes[i] = byte(n)
		n >>= 8
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address.String()
}

// plain is the value as JSON has it, so that what is kept does not change with the world.
func plain(value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		fatal("%T cannot be written as JSON: %v", value, err)
	}
	return json.RawMessage(text)
}
