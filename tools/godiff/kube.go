package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	eniconfig "github.com/aws/amazon-vpc-cni-k8s/pkg/apis/crd/v1alpha1"
	cninode "github.com/aws/amazon-vpc-resource-controller-k8s/apis/vpcresources/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"cni-metrics-helper/tools/godiff/before"
)

// nodeObject is the Node of this node.
type nodeObject struct {
	MaxPods       int64             `json:"max_pods"`
	Unschedulable bool              `json:"unschedulable"`
	ENIConfig     string            `json:"eni_config"`
	ProviderID    string            `json:"provider_id"`
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`
}

type eniConfigObject struct {
	Subnet string   `json:"subnet"`
	Groups []string `json:"groups"`
}

// podObject is a Pod. A pod that was not named exists and wants nothing.
type podObject struct {
	UID         string            `json:"uid"`
	WantsBranch bool              `json:"wants_branch"`
	Branch      *branchENI        `json:"branch"`
	Annotations map[string]string `json:"annotations"`
}

type branchENI struct {
	ENI     string `json:"eni"`
	MAC     string `json:"mac"`
	IP      string `json:"ip"`
	IPv6    string `json:"ipv6"`
	VLAN    int    `json:"vlan"`
	Subnet  string `json:"subnet"`
	Subnet6 string `json:"subnet6"`
}

type kubeState struct {
	Down       bool                       `json:"down"`
	Node       nodeObject                 `json:"node"`
	CNINode    bool                       `json:"cninode"`
	Features   []cninode.Feature          `json:"features"`
	ENIConfigs map[string]eniConfigObject `json:"eni_configs"`
	Pods       map[string]*podObject      `json:"pods"`
	Fails      []*failing                 `json:"fails"`
	// TrunkAfter is how long the controller takes to attach a trunk ENI (below 0: never), TrunkDue when it will (0: not now).
	TrunkAfter float64 `json:"trunk_after_ms"`
	TrunkDue   int64   `json:"trunk_due_us"`
}

// failing makes calls of one name fail.
type failing struct {
	Call  string `json:"call"`
	Text  string `json:"text"`
	Times *int   `json:"times"`
}

// takeFailing uses up one time.
func takeFailing(list *[]*failing, name string) error {
	for i, one := range *list {
		if one.Call != name {
			continue
		}
		if one.Times != nil {
			if *one.Times--; *one.Times <= 0 {
				*list = slices.Delete(*list, i, i+1)
			}
		}
		if one.Text == "" {
			return errors.New("injected")
		}
		return errors.New(one.Text)
	}
	return nil
}

type kubeCall struct {
	Call   string          `json:"call"`
	Object string          `json:"object"`
	Start  int64           `json:"start_us"`
	End    int64           `json:"end_us"`
	Error  string          `json:"error,omitempty"`
	Patch  json.RawMessage `json:"patch,omitempty"`
}

// kubeService is the Kubernetes API as the original's client sees it.
type kubeService struct {
	client.Client
	*world
}

const annotationOfBranch = "vpc.amazonaws.com/pod-eni"

func (s kubeService) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	s.enter()
	defer s.Unlock()
	var name string
	var fill func() error
	missing := func(resource string) error {
		return kerrors.NewNotFound(schema.GroupResource{Resource: resource}, key.Name)
	}
	switch object := object.(type) {
	case *corev1.Node:
		name, fill = "get node", func() error { s.fillNode(object); return nil }
	case *cninode.CNINode:
		name, fill = "get cninode", func() error {
			if !s.Kube.CNINode {
				return missing("cninodes")
			}
			object.Name, object.ResourceVersion = key.Name, "1"
			object.Spec.Features = slices.Clone(s.Kube.Features)
			return nil
		}
	case *eniconfig.ENIConfig:
		name, fill = "get eniconfig", func() error {
			one, there := s.Kube.ENIConfigs[key.Name]
			if !there {
				return missing("eniconfigs")
			}
			object.Name, object.Spec.Subnet, object.Spec.SecurityGroups = key.Name, one.Subnet, slices.Clone(one.Groups)
			return nil
		}
	case *corev1.Pod:
		name, fill = "get pod", func() error { return s.fillPod(key, object, missing) }
	default:
		fatal("the original reads a %T from the Kubernetes API now, which is not simulated", object)
	}
	return s.note(name, key.String(), nil, fill)
}

// note writes the call down and makes it fail if it shall.
func (s kubeService) note(name, object string, patch []byte, effect func() error) error {
	err := takeFailing(&s.Kube.Fails, name)
	if err == nil && s.Kube.Down {
		err = errors.New("dial tcp: connect: connection refused")
	}
	if err == nil {
		err = effect()
	}
	entry := kubeCall{Call: name, Object: strings.TrimPrefix(object, "/"), Start: now(), End: now(), Patch: patch}
	if err != nil {
		entry.Error = err.Error()
	}
	s.Log.Kube = append(s.Log.Kube, entry)
	return err
}

func (w *world) fillNode(object *corev1.Node) {
	node := w.Kube.Node
	object.Name = before.NodeName
	object.Labels, object.Annotations = copied(node.Labels), copied(node.Annotations)
	if node.ENIConfig != "" {
		object.Labels["k8s.amazonaws.com/eniConfig"] = node.ENIConfig
	}
	object.Spec.ProviderID = node.ProviderID
	if node.Unschedulable {
		object.Spec.Unschedulable = true
		object.Spec.Taints = []corev1.Taint{{Key: "node.kubernetes.io/unschedulable", Effect: corev1.TaintEffectNoSchedule}}
	}
	object.Status.Capacity = corev1.ResourceList{corev1.ResourcePods: *resource.NewQuantity(node.MaxPods, resource.DecimalSI)}
}

func copied(from map[string]string) map[string]string {
	to := map[string]string{}
	for key, value := range from {
		to[key] = value
	}
	return to
}

func (w *world) fillPod(key client.ObjectKey, object *corev1.Pod, missing func(string) error) error {
	pod, named := w.Kube.Pods[key.Namespace+"/"+key.Name]
	if named && pod == nil {
		return missing("pods")
	}
	if pod == nil {
		pod = &podObject{}
	}
	object.ObjectMeta = metav1.ObjectMeta{ResourceVersion: "1", Namespace: key.Namespace, Name: key.Name, UID: types.UID(pod.UID), Annotations: copied(pod.Annotations)}
	object.Spec.Containers = []corev1.Container{{Name: "main"}}
	if pod.WantsBranch || pod.Branch != nil {
		object.Spec.Containers[0].Resources.Limits = corev1.ResourceList{annotationOfBranch: resource.MustParse("1")}
	}
	if pod.Branch != nil {
		text, err := json.Marshal([]map[string]any{{
			"eniId": pod.Branch.ENI, "ifAddress": pod.Branch.MAC, "privateIp": pod.Branch.IP, "ipv6Addr": pod.Branch.IPv6,
			"vlanId": pod.Branch.VLAN, "subnetCidr": pod.Branch.Subnet, "subnetV6Cidr": pod.Branch.Subnet6,
		}})
		if err != nil {
			return err
		}
		object.Annotations[annotationOfBranch] = string(text)
	}
	return nil
}

func (s kubeService) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	text, err := patch.Data(object)
	if err != nil {
		return err
	}
	s.enter()
	defer s.Unlock()
	switch object := object.(type) {
	case *cninode.CNINode:
		return s.note("patch cninode", object.Name, text, func() error {
			s.Kube.Features = slices.Clone(object.Spec.Features)
			s.requestTrunk()
			return nil
		})
	case *corev1.Pod:
		name := object.Namespace + "/" + object.Name
		return s.note("patch pod", name, text, func() error {
			if s.Kube.Pods[name] == nil {
				s.Kube.Pods[name] = &podObject{UID: string(object.UID)}
			}
			kept := copied(object.Annotations)
			delete(kept, annotationOfBranch)
			s.Kube.Pods[name].Annotations = kept
			return nil
		})
	}
	fatal("the original patches a %T now, which is not simulated", object)
	return nil
}

// requestTrunk is the controller that attaches a trunk ENI to a node that asks for it.
func (w *world) requestTrunk() {
	wanted := slices.ContainsFunc(w.Kube.Features, func(f cninode.Feature) bool { return f.Name == cninode.SecurityGroupsForPods })
	if !wanted || w.Kube.TrunkAfter < 0 || w.Kube.TrunkDue != 0 {
		return
	}
	w.Kube.TrunkDue = now() + milliseconds(w.Kube.TrunkAfter).duration().Microseconds()
	go w.attachTrunk()
}

// attachTrunk waits until the trunk ENI is due.
func (w *world) attachTrunk() {
	w.enter()
	left := time.Duration(w.Kube.TrunkDue-now()) * time.Microsecond
	w.Unlock()
	if left > 0 {
		time.Sleep(left)
	}
	w.enter()
	defer w.Unlock()
	if device, free := w.freeDevice(); free {
		// The subnet exists, so this cannot fail.
		_, _ = w.complete(&eni{Kind: "trunk", Attached: true, Device: device, Description: "aws-k8s-trunk-eni", Deletes: true})
	}
	w.Kube.TrunkDue = -1
}

// freeDevice is the lowest device index that no attached ENI has, if the instance has room.
func (w *world) freeDevice() (int, bool) {
	used := map[int]bool{}
	for _, one := range w.ENIs {
		if one.Attached {
			used[one.Device] = true
		}
	}
	for device := range w.Limits.ENIs {
		if !used[device] {
			return device, len(used) < w.Limits.ENIs
		}
	}
	return 0, false
}

// recorder takes the events on the agent's pod.
type recorder struct{ *world }

var _ events.EventRecorder = recorder{}

func (r recorder) Eventf(_, _ runtime.Object, kind, reason, action, note string, values ...any) {
	r.enter()
	defer r.Unlock()
	text := note
	if len(values) > 0 {
		text = fmt.Sprintf(note, values...)
	}
	r.Log.Events = append(r.Log.Events, event{now(), kind, reason, action, text})
}
