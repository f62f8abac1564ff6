package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	vpcID      = "vpc-1"
	instanceID = "i-1"
	zone       = "zone-a"
)

// imdsState is what the metadata service shows wrongly or not at all.
type imdsState struct {
	Latency milliseconds        `json:"latency_ms"`
	Lag     milliseconds        `json:"lag_ms"`
	Broken  map[string]int      `json:"broken"` // what → status
	Hidden  []string            `json:"hide_enis"`
	Hide    map[string][]string `json:"hide"`
	Show    map[string][]string `json:"show"`
}

type metadataRead struct {
	Path   string  `json:"path"`
	Start  int64   `json:"start_us"`
	End    int64   `json:"end_us"`
	Text   *string `json:"text,omitempty"`
	Status int     `json:"status,omitempty"`
}

// metadataService is the instance metadata as the original's client sees it.
type metadataService struct{ *world }

func (s metadataService) GetMetadata(ctx context.Context, in *imds.GetMetadataInput, _ ...func(*imds.Options)) (*imds.GetMetadataOutput, error) {
	read := metadataRead{Path: in.Path, Start: now()}
	s.enter()
	latency := s.IMDS.Latency.duration()
	s.Unlock()
	if latency > 0 {
		time.Sleep(latency)
	}
	s.enter()
	defer s.Unlock()
	text, status := s.read(in.Path)
	read.End = now()
	if status == http.StatusOK {
		read.Text = &text
	} else {
		read.Status = status
	}
	if s.LogIMDS {
		s.Log.IMDS = append(s.Log.IMDS, read)
	}
	if status == http.StatusOK {
		return &imds.GetMetadataOutput{Content: io.NopCloser(bytes.NewBufferString(text))}, nil
	}
	return nil, &smithy.OperationError{ServiceID: "ec2imds", OperationName: "GetMetadata", Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: errors.New("the metadata service does not answer as it should"),
	}}
}

// read is the text or the status for a path.
func (w *world) read(path string) (string, int) {
	last := path[strings.LastIndex(path, "/")+1:]
	for _, what := range []string{"*", last} {
		if status, broken := w.IMDS.Broken[what]; broken {
			return "", status
		}
	}
	if len(w.ENIs) == 0 {
		return "", http.StatusNotFound
	}
	shown := w.shown(w.IMDS.Lag.duration())
	primary := shown[0]
	switch path {
	case "placement/availability-zone":
		return zone, http.StatusOK
	case "placement/region":
		return "region-1", http.StatusOK
	case "instance-id":
		return instanceID, http.StatusOK
	case "instance-type":
		return w.Limits.Type, http.StatusOK
	case "local-ipv4":
		return primary.Primary, http.StatusOK
	case "ipv6":
		return found(primary.Primary6)
	case "mac":
		return primary.MAC, http.StatusOK
	case "network/interfaces/macs":
		macs := []string{}
		for _, one := range shown {
			if one.Attached && !slices.Contains(w.IMDS.Hidden, one.ID) {
				macs = append(macs, one.MAC+"/")
			}
		}
		return strings.Join(macs, "\n"), http.StatusOK
	}
	mac, what, _ := strings.Cut(strings.TrimPrefix(path, "network/interfaces/macs/"), "/")
	for _, one := range shown {
		if one.MAC == mac {
			return w.readENI(one, what)
		}
	}
	return "", http.StatusNotFound
}

// found is 404 for what there is not.
func found(text string) (string, int) {
	if text == "" {
		return "", http.StatusNotFound
	}
	return text, http.StatusOK
}

func (w *world) readENI(e *eni, what string) (string, int) {
	switch what {
	case "":
		return w.eniFields(e), http.StatusOK
	case "interface-id":
		return e.ID, http.StatusOK
	case "device-number":
		return fmt.Sprint(e.Device), http.StatusOK
	case "network-card":
		return fmt.Sprint(e.Card), http.StatusOK
	case "subnet-id":
		return e.Subnet, http.StatusOK
	case "vpc-id":
		return vpcID, http.StatusOK
	case "security-group-ids":
		return strings.Join(w.Groups, "\n"), http.StatusOK
	case "local-ipv4s":
		return found(strings.Join(w.addresses(e), "\n"))
	case "ipv4-prefix":
		return found(strings.Join(without(e.Prefixes, w.IMDS.Hide[e.ID]), "\n"))
	case "ipv6s":
		return found(e.Primary6)
	case "ipv6-prefix":
		return found(strings.Join(without(e.Prefixes6, w.IMDS.Hide[e.ID]), "\n"))
	case "vpc-ipv4-cidr-blocks":
		return found(strings.Join(w.VPC, "\n"))
	}
	in := w.subnet(e.Subnet)
	if in == nil {
		return "", http.StatusNotFound
	}
	switch what {
	case "subnet-ipv4-cidr-block":
		return found(in.CIDR)
	case "subnet-ipv6-cidr-blocks", "vpc-ipv6-cidr-blocks":
		return found(in.CIDR6)
	}
	return "", http.StatusNotFound
}

// addresses are the primary one and what is shown of the others.
func (w *world) addresses(e *eni) []string {
	if e.Kind == "efa-only" {
		return nil
	}
	list := append([]string{e.Primary}, without(e.IPs, w.IMDS.Hide[e.ID])...)
	return append(list, w.IMDS.Show[e.ID]...)
}

// eniFields is the listing of an ENI.
func (w *world) eniFields(e *eni) string {
	names := []string{"device-number", "interface-id", "mac", "network-card", "security-group-ids", "subnet-id", "vpc-id"}
	if e.Kind != "efa-only" {
		names = append(names, "local-ipv4s", "subnet-ipv4-cidr-block", "vpc-ipv4-cidr-blocks")
	}
	if len(e.Prefixes) > 0 {
		names = append(names, "ipv4-prefix")
	}
	if e.Primary6 != "" {
		names = append(names, "ipv6s", "subnet-ipv6-cidr-blocks", "vpc-ipv6-cidr-blocks")
	}
	if len(e.Prefixes6) > 0 {
		names = append(names, "ipv6-prefix")
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}
