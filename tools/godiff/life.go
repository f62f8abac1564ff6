package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/awsutils"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/ec2wrapper"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/networkutils"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/utils/eventrecorder"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/utils/logger"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/vpc"
	"github.com/aws/amazon-vpc-cni-k8s/utils/prometheusmetrics"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"cni-metrics-helper/tools/godiff/before"
)

// life is one process of the agent: what its main function and constructors do, with the outside world in their places.
type life struct {
	*world
	pool  *ipamd.IPAMContext
	aws   *awsutils.EC2InstanceMetadataCache
	store *datastore.DataStore
	ended chan struct{} // closed when the start has ended, well or not

	number int
	began  int64
	ready  *int64
	failed *int64
	reason string
	// terminating: SIGTERM was received.
	terminating bool
}

// begin starts a life. Its work goes on in tasks of its own.
func (w *world) begin(number int) *life {
	l := &life{world: w, number: number, began: now(), ended: make(chan struct{}), pool: &ipamd.IPAMContext{}, aws: &awsutils.EC2InstanceMetadataCache{}}
	for name, value := range w.Settings {
		os.Setenv(name, value)
	}
	eventRecorder = &eventrecorder.EventRecorder{Recorder: recorder{w}}
	go l.run()
	return l
}

func (l *life) run() {
	started := time.Now()
	connected, where, err := l.connect(), "api_server_connectivity", error(nil)
	if !connected && l.needsAPIServer() {
		err = errors.New("the API server cannot be reached")
	}
	if err == nil {
		where = "node_initialization"
		initializing := time.Now()
		err = l.initialize(connected)
		prometheusmetrics.IpamdNodeInitDuration.WithLabelValues(strconv.FormatBool(err == nil)).Observe(time.Since(initializing).Seconds())
	}
	l.enter()
	moment := now()
	if err != nil {
		l.failed, l.reason = &moment, err.Error()
	} else {
		l.ready, where = &moment, ""
	}
	prometheusmetrics.IpamdStartupDuration.WithLabelValues(strconv.FormatBool(err == nil), strconv.FormatBool(connected), where).Observe(time.Since(started).Seconds())
	l.Unlock()
	close(l.ended)
	if err != nil {
		return
	}
	if !connected {
		go l.reconnect()
	}
	l.pool.StartNodeIPPoolManager(context.Background())
}

// needsAPIServer says whether a setting makes the start wait for the API server.
func (l *life) needsAPIServer() bool {
	return ipamd.EnablePodENI() || ipamd.UseCustomNetworkCfg() || ipamd.EnablePodIPAnnotation()
}

// reached says whether the API server answers.
func (l *life) reached() bool {
	l.enter()
	defer l.Unlock()
	return !l.Kube.Down
}

// connect waits for the API server: as long as it takes if a setting needs it, else 30 s.
func (l *life) connect() bool {
	if l.needsAPIServer() {
		for !l.reached() {
			time.Sleep(2 * time.Second)
		}
		return true
	}
	for waited := 0; waited < 6 && !l.reached(); waited++ {
		time.Sleep(5 * time.Second)
	}
	return l.reached()
}

// reconnect tells the original when the API server answers for the first time.
func (l *life) reconnect() {
	for !l.reached() {
		time.Sleep(5 * time.Second)
	}
	l.pool.SetAPIServerConnectivity(true)
}

// initialize does what the two constructors of the original do around what runs here unchanged.
func (l *life) initialize(connected bool) error {
	if l.Limits.ENIs > 0 {
		keepLimits(l.Limits.Type)
		cards := []vpc.NetworkCard{{NetworkCardIndex: 0, MaximumNetworkInterfaces: int64(l.Limits.ENIs)}}
		vpc.SetInstance(types.InstanceType(l.Limits.Type), l.Limits.ENIs, l.Limits.IPs, 0, cards, types.InstanceTypeHypervisor(l.Limits.Hypervisor), l.Limits.BareMetal)
	}
	background := context.Background()
	four, six, prefixes := isIPv4Enabled(), isIPv6Enabled(), usePrefixDelegation()
	for name, value := range map[string]any{
		"imds": awsutils.TypedIMDS{EC2MetadataIface: metadataService{l.world}}, "ec2SVC": ec2wrapper.EC2(ec2Service{l.world}),
		"clusterName": os.Getenv("CLUSTER_NAME"), "additionalENITags": loadAdditionalENITags(), "region": "region-1",
		"useCustomNetworking": ipamd.UseCustomNetworkCfg(), "useSubnetDiscovery": ipamd.UseSubnetDiscovery(), "v4Enabled": four, "v6Enabled": six,
	} {
		set(l.aws, value, name)
	}
	if err := initWithEC2Metadata(l.aws, background); err != nil {
		return fmt.Errorf("the metadata service at the start: %w", err)
	}
	if !disableLeakedENICleanup() {
		go wait.Forever(func() { cleanUpLeakedENIs(l.aws, background) }, time.Hour)
	}
	policy, err := getNetworkPolicyMode()
	if err != nil {
		return err
	}
	for name, value := range map[string]any{
		"k8sClient": client.Client(kubeService{world: l.world}), "networkClient": networkutils.NetworkAPIs(hostNetwork{world: l.world}),
		"awsClient": awsutils.APIs(l.aws), "useCustomNetworking": ipamd.UseCustomNetworkCfg(),
		"manageENIsNonScheduleable": ipamd.ManageENIsOnNonSchedulableNode(), "useSubnetDiscovery": ipamd.UseSubnetDiscovery(),
		"enablePrefixDelegation": prefixes, "enableIPv4": four, "enableIPv6": six, "disableENIProvisioning": disableENIProvisioning(),
		"primaryIP": map[string]string{}, "warmENITarget": getWarmENITarget(), "warmIPTarget": getWarmIPTarget(),
		"minimumIPTarget": getMinimumIPTarget(), "warmPrefixTarget": getWarmPrefixTarget(), "enablePodENI": ipamd.EnablePodENI(),
		"enableManageUntaggedMode": enableManageUntaggedMode(), "enablePodIPAnnotation": ipamd.EnablePodIPAnnotation(),
		"enableMultiNICSupport": enableMultiNICSupport(), "networkPolicyMode": policy,
	} {
		set(l.pool, value, name)
	}
	set(l.pool, map[string]time.Time{}, "reconcileCooldownCache", "cache")
	if err := l.aws.FetchInstanceTypeLimits(background); err != nil {
		return err
	}
	if !isConfigValid(l.pool) {
		return errors.New("the configuration is not valid")
	}
	cards := len(l.aws.GetNetworkCards())
	set(l.pool, cards, "numNetworkCards")
	set(l.pool, make([]int, cards), "unmanagedENI")
	l.aws.InitCachedPrefixDelegation(get[bool](l.pool, "enablePrefixDelegation"))
	set(l.pool, before.NodeName, "myNodeName")
	set(l.pool, connected, "withApiServer")
	l.openStore()
	return nodeInit(l.pool, background)
}

// given are the limits of types in the original's table that histories have replaced.
var given = map[string]vpc.InstanceTypeLimits{}

func keepLimits(name string) {
	if _, kept := given[name]; kept {
		return
	}
	if known, there := vpc.GetInstance(name); there {
		given[name] = known
	}
}

// restoreLimits puts the original's table right again.
func restoreLimits() {
	for name, known := range given {
		vpc.SetInstance(types.InstanceType(name), known.ENILimit, known.IPv4Limit, known.DefaultNetworkCardIndex, known.NetworkCards,
			types.InstanceTypeHypervisor(known.HypervisorType), known.IsBareMetal)
	}
}

// openStore makes the store of the only card, with the checkpoint and the links of this world, where the original would.
func (l *life) openStore() {
	store := datastore.NewDataStore(logger.Get(), worldFile{l.world}, get[bool](l.pool, "enablePrefixDelegation"), 0)
	(&links{world: l.world}).putInto(store)
	set(l.pool, &datastore.DataStoreAccess{DataStores: []*datastore.DataStore{store}}, "dataStoreAccess")
	l.enter()
	l.store = store
	l.Unlock()
}

// worldFile is the checkpoint that outlives the life. Its caller holds the store's lock, so it never parks.
type worldFile struct{ *world }

func (f worldFile) Checkpoint(data any) error {
	f.Lock()
	defer f.Unlock()
	if f.dead {
		return nil
	}
	file := checkpoint{fail: f.world.Checkpoint.Fail}
	err := file.Checkpoint(data)
	if err == nil {
		f.world.Checkpoint.Content = file.content
	}
	return err
}

func (f worldFile) Restore(into any) error {
	f.Lock()
	defer f.Unlock()
	return (&checkpoint{content: f.world.Checkpoint.Content}).Restore(into)
}

// lifeForm is the part life of an answer.
type lifeForm struct {
	Number       int    `json:"number"`
	History      int64  `json:"history_unix_s"`
	State        string `json:"state"`
	Began        int64  `json:"began_us"`
	Ready        *int64 `json:"ready_us,omitempty"`
	Ended        *int64 `json:"ended_us,omitempty"`
	Error        string `json:"error,omitempty"`
	MaxPods      int    `json:"max_pods,omitempty"`
	LastDecrease *int64 `json:"last_decrease_us,omitempty"`
	LastAction   *int64 `json:"last_action_us,omitempty"`
	// LastShort is when EC2 last said that a subnet has too few addresses.
	LastShort *int64 `json:"last_insufficient_us,omitempty"`
	// Released are the CIDRs that a reconcile does not believe until then.
	Released map[string]int64 `json:"released,omitempty"`
}

func (l *life) form() lifeForm {
	form := lifeForm{Number: l.number, History: began.Unix(), State: "starting", Began: l.began, Ready: l.ready, Ended: l.failed, Error: l.reason}
	switch {
	case l.failed != nil:
		form.State = "ended"
	case l.terminating:
		form.State = "terminating"
	case l.ready != nil:
		form.State = "ready"
	}
	form.MaxPods = get[int](l.pool, "maxPods")
	form.LastDecrease = since(get[time.Time](l.pool, "lastDecreaseIPPool"), began)
	form.LastAction = since(get[time.Time](l.pool, "lastNodeIPPoolAction"), began)
	form.LastShort = since(get[time.Time](l.pool, "lastInsufficientCidrError"), began)
	form.Released = map[string]int64{}
	for cidr, until := range get[map[string]time.Time](l.pool, "reconcileCooldownCache", "cache") {
		form.Released[cidr] = until.Sub(began).Microseconds()
	}
	return form
}

// unsupported names a setting that needs what is not simulated.
func unsupported(settings map[string]string, node nodeObject) error {
	if on, _ := strconv.ParseBool(settings["ENABLE_MULTI_NIC"]); on {
		return errors.New("settings: ENABLE_MULTI_NIC is not simulated: there is one network card")
	}
	if strings.Contains(node.ProviderID, "sagemaker") {
		return errors.New("node: provider_id of a SageMaker node is not simulated: the original would call AWS")
	}
	for name := range settings {
		if strings.HasPrefix(name, "GODIFF_") || name == "PATH" || name == "HOME" || name == "KUBECONFIG" || name == "KUBERNETES_SERVICE_HOST" {
			return fmt.Errorf("settings: %s is not a setting of the daemon", name)
		}
	}
	return nil
}
