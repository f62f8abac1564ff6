package main

import (
	"context"
	"reflect"
	"time"
	"unsafe"

	"github.com/aws/amazon-vpc-cni-k8s/pkg/awsutils"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd/datastore"
	"github.com/aws/amazon-vpc-cni-k8s/pkg/utils/eventrecorder"
	"github.com/aws/amazon-vpc-cni-k8s/rpc"
)

// Unexported functions of the original by their names, so that nothing of it is copied. The linker names one that is gone.
// The empty reach.s lets the compiler accept functions without bodies.

//go:linkname datastoreTargetState github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).datastoreTargetState
func datastoreTargetState(*ipamd.IPAMContext, *datastore.DataStoreStats, int) (short, over int, enabled bool)

//go:linkname datastorePrefixTargetState github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).datastorePrefixTargetState
func datastorePrefixTargetState(*ipamd.IPAMContext, int) (short int, enabled bool)

//go:linkname isDatastorePoolTooLow github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).isDatastorePoolTooLow
func isDatastorePoolTooLow(*ipamd.IPAMContext) map[int]ipamd.Decisions

//go:linkname isDatastorePoolTooHigh github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).isDatastorePoolTooHigh
func isDatastorePoolTooHigh(*ipamd.IPAMContext, *datastore.DataStoreStats, int) bool

//go:linkname shouldRemoveExtraENIs github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).shouldRemoveExtraENIs
func shouldRemoveExtraENIs(*ipamd.IPAMContext, *datastore.DataStoreStats, int) bool

//go:linkname hasRoomForEni github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).hasRoomForEni
func hasRoomForEni(*ipamd.IPAMContext, int) bool

//go:linkname nodeInit github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).nodeInit
func nodeInit(*ipamd.IPAMContext, context.Context) error

//go:linkname isConfigValid github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).isConfigValid
func isConfigValid(*ipamd.IPAMContext) bool

//go:linkname setTerminating github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*IPAMContext).setTerminating
func setTerminating(*ipamd.IPAMContext)

//go:linkname initWithEC2Metadata github.com/aws/amazon-vpc-cni-k8s/pkg/awsutils.(*EC2InstanceMetadataCache).initWithEC2Metadata
func initWithEC2Metadata(*awsutils.EC2InstanceMetadataCache, context.Context) error

//go:linkname cleanUpLeakedENIs github.com/aws/amazon-vpc-cni-k8s/pkg/awsutils.(*EC2InstanceMetadataCache).cleanUpLeakedENIs
func cleanUpLeakedENIs(*awsutils.EC2InstanceMetadataCache, context.Context)

//go:linkname cleanUpLeakedENIsInternal github.com/aws/amazon-vpc-cni-k8s/pkg/awsutils.(*EC2InstanceMetadataCache).cleanUpLeakedENIsInternal
func cleanUpLeakedENIsInternal(*awsutils.EC2InstanceMetadataCache, context.Context, time.Duration)

//go:linkname loadAdditionalENITags github.com/aws/amazon-vpc-cni-k8s/pkg/awsutils.loadAdditionalENITags
func loadAdditionalENITags() map[string]string

// Settings, as the original reads them from the environment.

//go:linkname getWarmENITarget github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.getWarmENITarget
func getWarmENITarget() int

//go:linkname getWarmIPTarget github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.getWarmIPTarget
func getWarmIPTarget() int

//go:linkname getMinimumIPTarget github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.getMinimumIPTarget
func getMinimumIPTarget() int

//go:linkname getWarmPrefixTarget github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.getWarmPrefixTarget
func getWarmPrefixTarget() int

//go:linkname usePrefixDelegation github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.usePrefixDelegation
func usePrefixDelegation() bool

//go:linkname isIPv4Enabled github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.isIPv4Enabled
func isIPv4Enabled() bool

//go:linkname isIPv6Enabled github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.isIPv6Enabled
func isIPv6Enabled() bool

//go:linkname disableENIProvisioning github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.disableENIProvisioning
func disableENIProvisioning() bool

//go:linkname disableLeakedENICleanup github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.disableLeakedENICleanup
func disableLeakedENICleanup() bool

//go:linkname enableManageUntaggedMode github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.enableManageUntaggedMode
func enableManageUntaggedMode() bool

//go:linkname enableMultiNICSupport github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.enableMultiNICSupport
func enableMultiNICSupport() bool

//go:linkname getNetworkPolicyMode github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.getNetworkPolicyMode
func getNetworkPolicyMode() (string, error)

// eventRecorder is where the original finds its recorder of events.
//
//go:linkname eventRecorder github.com/aws/amazon-vpc-cni-k8s/pkg/utils/eventrecorder.eventRecorder
var eventRecorder *eventrecorder.EventRecorder

// rpcServer has the layout of the original's server.
type rpcServer struct {
	version string
	context *ipamd.IPAMContext
}

//go:linkname addNetwork github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*server).AddNetwork
func addNetwork(*rpcServer, context.Context, *rpc.AddNetworkRequest) (*rpc.AddNetworkReply, error)

//go:linkname delNetwork github.com/aws/amazon-vpc-cni-k8s/pkg/ipamd.(*server).DelNetwork
func delNetwork(*rpcServer, context.Context, *rpc.DelNetworkRequest) (*rpc.DelNetworkReply, error)

// field is the field of the struct that owner points to, exported or not, by its path of names. The process ends with the
// name of a field that is gone.
func field(owner any, path ...string) reflect.Value {
	value := reflect.ValueOf(owner).Elem()
	for _, name := range path {
		inner := value.FieldByName(name)
		if !inner.IsValid() {
			fatal("%v of the original has no field %q", value.Type(), name)
		}
		value = reflect.NewAt(inner.Type(), unsafe.Pointer(inner.UnsafeAddr())).Elem()
	}
	return value
}

// set gives the field a value.
func set(owner, value any, path ...string) {
	target := field(owner, path...)
	given := reflect.ValueOf(value)
	if !given.Type().AssignableTo(target.Type()) {
		fatal("field %v of the original is %v and no longer %v", path, target.Type(), given.Type())
	}
	target.Set(given)
}

// get reads a field as T.
func get[T any](owner any, path ...string) T {
	value, ok := field(owner, path...).Interface().(T)
	if !ok {
		fatal("field %v of the original is %v", path, field(owner, path...).Type())
	}
	return value
}
