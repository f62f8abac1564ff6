package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// fault makes calls of one operation fail.
type fault struct {
	Op    string        `json:"op"`
	Code  string        `json:"code"`
	Text  string        `json:"text"`
	Times *int          `json:"times"`
	Fate  string        `json:"fate"`
	Hold  *milliseconds `json:"hold_ms"`
}

const (
	fateRefused = "refused"  // answered with an error, no effect
	fateNotSent = "not-sent" // no answer, no effect
	fateUnknown = "unknown"  // it took effect, the answer is lost
	fateCut     = "cut"      // the process ended meanwhile
)

// operations are those that the original calls.
var operations = []string{
	"AssignIpv6Addresses", "AssignPrivateIpAddresses", "AttachNetworkInterface", "CreateNetworkInterface", "CreateTags",
	"DeleteNetworkInterface", "DescribeInstances", "DescribeInstanceTypes", "DescribeNetworkInterfaces", "DescribeSecurityGroups",
	"DescribeSubnets", "DetachNetworkInterface", "ModifyNetworkInterfaceAttribute", "UnassignIpv6Addresses", "UnassignPrivateIpAddresses",
}

// ec2Service is EC2 as the original's client sees it.
type ec2Service struct{ *world }

type arguments = map[string]any

// refusal of EC2.
type ec2Error struct{ code, text string }

func notFound(id string) *ec2Error {
	return &ec2Error{"InvalidNetworkInterfaceID.NotFound", fmt.Sprintf("The networkInterface ID '%s' does not exist", id)}
}

// call takes the operation's latency, and then has its effect, unless a fault prevents it.
func (s ec2Service) call(ctx context.Context, op string, given arguments, effect func() (arguments, *ec2Error)) error {
	s.enter()
	entry := &call{Op: op, Arguments: given, Start: now()}
	s.Log.flying = append(s.Log.flying, entry)
	failing := s.takeFault(op)
	latency, special := s.Latencies[op]
	if !special {
		latency = s.Latency
	}
	if failing != nil && failing.Hold != nil {
		latency = *failing.Hold
	}
	s.Unlock()

	ended := waitFor(ctx, latency.duration())
	s.enter()
	defer s.Unlock()
	err := s.conclude(entry, failing, ended, effect)
	entry.End = now()
	s.Log.flying = slices.DeleteFunc(s.Log.flying, func(c *call) bool { return c == entry })
	s.Log.Calls = append(s.Log.Calls, *entry)
	return err
}

// waitFor returns the reason why the caller gave up, if it did.
func waitFor(ctx context.Context, latency time.Duration) error {
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s ec2Service) conclude(entry *call, failing *fault, gaveUp error, effect func() (arguments, *ec2Error)) error {
	fail := func(code, text, fate string, cause error) error {
		entry.Error = &callError{code, text, fate}
		return &smithy.OperationError{ServiceID: "EC2", OperationName: entry.Op, Err: cause}
	}
	if gaveUp != nil {
		return fail("", gaveUp.Error(), fateNotSent, gaveUp)
	}
	if failing != nil {
		text := failing.Text
		if text == "" {
			text = "injected"
		}
		if failing.Fate == fateUnknown {
			effect()
		}
		if failing.Code == "" {
			return fail("", text, failing.Fate, errors.New(text))
		}
		return fail(failing.Code, text, failing.Fate, &smithy.GenericAPIError{Code: failing.Code, Message: text})
	}
	result, refused := effect()
	if refused != nil && refused.code == "" {
		return fail("", refused.text, fateNotSent, errors.New(refused.text))
	}
	if refused != nil {
		return fail(refused.code, refused.text, fateRefused, &smithy.GenericAPIError{Code: refused.code, Message: refused.text})
	}
	if result == nil {
		result = arguments{}
	}
	entry.Result = result
	return nil
}

// takeFault uses up one time of the fault of op.
func (w *world) takeFault(op string) *fault {
	for i, one := range w.Faults {
		if one.Op != op {
			continue
		}
		taken := *one
		if one.Times != nil {
			if *one.Times--; *one.Times == 0 {
				w.Faults = slices.Delete(w.Faults, i, i+1)
			}
		}
		return &taken
	}
	return nil
}

// room refuses what the subnet or the ENI's limit does not allow.
func (w *world) room(in *subnet, e *eni, addresses, prefixes int) *ec2Error {
	had := 0
	if e != nil {
		had = len(e.IPs) + len(e.Prefixes)
	}
	if 1+had+addresses+prefixes > w.Limits.IPs {
		return &ec2Error{"PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit."}
	}
	need := addresses + 16*prefixes
	if e == nil {
		need++
	}
	block, err := netip.ParsePrefix(in.CIDR)
	half := uint64(0)
	if err == nil && block.Bits() < 31 {
		half = uint64(1) << (31 - block.Bits())
	}
	if in.Free < need || uint64(in.Next+need)+4 > half || uint64(in.Next16+prefixes+1)*16 > half {
		return &ec2Error{"InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request."}
	}
	return nil
}

func (s ec2Service) CreateNetworkInterface(ctx context.Context, in *ec2.CreateNetworkInterfaceInput, _ ...func(*ec2.Options)) (*ec2.CreateNetworkInterfaceOutput, error) {
	tags := map[string]string{}
	for _, specification := range in.TagSpecifications {
		for _, tag := range specification.Tags {
			tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
	}
	addresses, prefixes := int(aws.ToInt32(in.SecondaryPrivateIpAddressCount)), int(aws.ToInt32(in.Ipv4PrefixCount))
	given := arguments{
		"subnet": aws.ToString(in.SubnetId), "groups": in.Groups, "description": aws.ToString(in.Description), "tags": plain(tags),
		"count": addresses, "prefixes": prefixes,
	}
	if in.Ipv6AddressCount != nil {
		given["count6"] = int(aws.ToInt32(in.Ipv6AddressCount))
	}
	out := &ec2.CreateNetworkInterfaceOutput{}
	err := s.call(ctx, "CreateNetworkInterface", given, func() (arguments, *ec2Error) {
		where := s.subnet(aws.ToString(in.SubnetId))
		if where == nil {
			return nil, &ec2Error{"InvalidSubnetID.NotFound", fmt.Sprintf("The subnet ID '%s' does not exist", aws.ToString(in.SubnetId))}
		}
		if refused := s.room(where, nil, addresses, prefixes); refused != nil {
			return nil, refused
		}
		made, err := s.complete(&eni{Subnet: where.ID, Description: aws.ToString(in.Description), Tags: tags, Groups: slices.Clone(in.Groups)})
		if err != nil {
			return nil, &ec2Error{"InternalError", err.Error()}
		}
		s.lend(made, where, addresses, prefixes)
		out.NetworkInterface = &types.NetworkInterface{NetworkInterfaceId: aws.String(made.ID)}
		return arguments{"eni": plain(made)}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// lend gives the ENI addresses and prefixes, and says which.
func (w *world) lend(e *eni, in *subnet, addresses, prefixes int) (v4, blocks []string) {
	v4, blocks = []string{}, []string{}
	for range addresses {
		v4 = append(v4, w.address(in))
	}
	for range prefixes {
		blocks = append(blocks, w.prefix(in))
	}
	e.IPs, e.Prefixes = append(e.IPs, v4...), append(e.Prefixes, blocks...)
	w.changed()
	return v4, blocks
}

func (s ec2Service) DescribeInstances(ctx context.Context, _ *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	instance := types.Instance{}
	err := s.call(ctx, "DescribeInstances", arguments{}, func() (arguments, *ec2Error) {
		devices := []map[string]any{}
		for _, one := range s.ENIs {
			if !one.Attached {
				continue
			}
			devices = append(devices, map[string]any{"eni": one.ID, "device": one.Device, "card": one.Card})
			instance.NetworkInterfaces = append(instance.NetworkInterfaces, types.InstanceNetworkInterface{
				NetworkInterfaceId: aws.String(one.ID),
				Attachment: &types.InstanceNetworkInterfaceAttachment{
					DeviceIndex: aws.Int32(int32(one.Device)), NetworkCardIndex: aws.Int32(int32(one.Card)),
				},
			})
		}
		return arguments{"devices": devices}, nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeInstancesOutput{Reservations: []types.Reservation{{Instances: []types.Instance{instance}}}}, nil
}

func (s ec2Service) DescribeInstanceTypes(ctx context.Context, in *ec2.DescribeInstanceTypesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstanceTypesOutput, error) {
	asked := []string{}
	for _, one := range in.InstanceTypes {
		asked = append(asked, string(one))
	}
	return &ec2.DescribeInstanceTypesOutput{}, s.call(ctx, "DescribeInstanceTypes", arguments{"types": asked}, func() (arguments, *ec2Error) {
		return arguments{"types": []string{}}, nil
	})
}

func (s ec2Service) AttachNetworkInterface(ctx context.Context, in *ec2.AttachNetworkInterfaceInput, _ ...func(*ec2.Options)) (*ec2.AttachNetworkInterfaceOutput, error) {
	id, device, card := aws.ToString(in.NetworkInterfaceId), int(aws.ToInt32(in.DeviceIndex)), int(aws.ToInt32(in.NetworkCardIndex))
	out := &ec2.AttachNetworkInterfaceOutput{}
	err := s.call(ctx, "AttachNetworkInterface", arguments{"eni": id, "device": device, "card": card}, func() (arguments, *ec2Error) {
		one := s.find(id)
		if one == nil {
			return nil, notFound(id)
		}
		if one.Attached {
			return nil, &ec2Error{"InvalidNetworkInterface.InUse", fmt.Sprintf("Interface: [%s] in use.", id)}
		}
		attached := 0
		for _, other := range s.ENIs {
			if other.Attached && other.Device == device && other.Card == card {
				return nil, &ec2Error{"InvalidParameterValue", fmt.Sprintf("Instance already has an interface attached at device index '%d'.", device)}
			}
			if other.Attached {
				attached++
			}
		}
		if attached >= s.Limits.ENIs {
			return nil, &ec2Error{"AttachmentLimitExceeded", fmt.Sprintf("Interface count %d exceeds the limit for %s", attached+1, s.Limits.Type)}
		}
		one.Attached, one.Device, one.Card = true, device, card
		s.status(one)
		s.changed()
		out.AttachmentId = aws.String(one.attachment())
		return arguments{"attachment": one.attachment()}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s ec2Service) DeleteNetworkInterface(ctx context.Context, in *ec2.DeleteNetworkInterfaceInput, _ ...func(*ec2.Options)) (*ec2.DeleteNetworkInterfaceOutput, error) {
	id := aws.ToString(in.NetworkInterfaceId)
	return &ec2.DeleteNetworkInterfaceOutput{}, s.call(ctx, "DeleteNetworkInterface", arguments{"eni": id}, func() (arguments, *ec2Error) {
		one := s.find(id)
		if one == nil {
			return nil, notFound(id)
		}
		if one.Attached {
			return nil, &ec2Error{"InvalidParameterValue", fmt.Sprintf("Network interface '%s' is currently in use.", id)}
		}
		s.remove(id)
		return nil, nil
	})
}

func (s ec2Service) DetachNetworkInterface(ctx context.Context, in *ec2.DetachNetworkInterfaceInput, _ ...func(*ec2.Options)) (*ec2.DetachNetworkInterfaceOutput, error) {
	given := arguments{}
	if in.AttachmentId != nil {
		given["attachment"] = *in.AttachmentId
	}
	return &ec2.DetachNetworkInterfaceOutput{}, s.call(ctx, "DetachNetworkInterface", given, func() (arguments, *ec2Error) {
		if in.AttachmentId == nil {
			// What the client's own validation says before anything is sent.
			return nil, &ec2Error{"", "1 validation error(s) found.\n- missing required field, DetachNetworkInterfaceInput.AttachmentId.\n"}
		}
		one := s.find(strings.TrimPrefix(*in.AttachmentId, "attach-"))
		if one == nil || !one.Attached {
			return nil, &ec2Error{"InvalidAttachmentID.NotFound", fmt.Sprintf("The attachment ID '%s' does not exist", *in.AttachmentId)}
		}
		one.Attached = false
		s.status(one)
		s.changed()
		return nil, nil
	})
}

func (s ec2Service) AssignPrivateIpAddresses(ctx context.Context, in *ec2.AssignPrivateIpAddressesInput, _ ...func(*ec2.Options)) (*ec2.AssignPrivateIpAddressesOutput, error) {
	id, addresses, prefixes := aws.ToString(in.NetworkInterfaceId), int(aws.ToInt32(in.SecondaryPrivateIpAddressCount)), int(aws.ToInt32(in.Ipv4PrefixCount))
	out := &ec2.AssignPrivateIpAddressesOutput{}
	err := s.call(ctx, "AssignPrivateIpAddresses", arguments{"eni": id, "count": addresses, "prefixes": prefixes}, func() (arguments, *ec2Error) {
		one := s.find(id)
		if one == nil {
			return nil, notFound(id)
		}
		if refused := s.room(s.subnet(one.Subnet), one, addresses, prefixes); refused != nil {
			return nil, refused
		}
		v4, blocks := s.lend(one, s.subnet(one.Subnet), addresses, prefixes)
		for _, address := range v4 {
			out.AssignedPrivateIpAddresses = append(out.AssignedPrivateIpAddresses, types.AssignedPrivateIpAddress{PrivateIpAddress: aws.String(address)})
		}
		for _, block := range blocks {
			out.AssignedIpv4Prefixes = append(out.AssignedIpv4Prefixes, types.Ipv4PrefixSpecification{Ipv4Prefix: aws.String(block)})
		}
		return arguments{"v4": v4, "prefixes": blocks}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s ec2Service) UnassignPrivateIpAddresses(ctx context.Context, in *ec2.UnassignPrivateIpAddressesInput, _ ...func(*ec2.Options)) (*ec2.UnassignPrivateIpAddressesOutput, error) {
	id := aws.ToString(in.NetworkInterfaceId)
	given := arguments{"eni": id, "v4": orEmpty(in.PrivateIpAddresses), "prefixes": orEmpty(in.Ipv4Prefixes)}
	return &ec2.UnassignPrivateIpAddressesOutput{}, s.call(ctx, "UnassignPrivateIpAddresses", given, func() (arguments, *ec2Error) {
		one := s.find(id)
		if one == nil {
			return nil, notFound(id)
		}
		for _, gone := range in.PrivateIpAddresses {
			if !slices.Contains(one.IPs, gone) {
				return nil, &ec2Error{"InvalidParameterValue", fmt.Sprintf("Some of [%s] are not assigned to interface %s", strings.Join(in.PrivateIpAddresses, ", "), id)}
			}
		}
		for _, gone := range in.Ipv4Prefixes {
			if !slices.Contains(one.Prefixes, gone) {
				return nil, &ec2Error{"InvalidParameterValue", fmt.Sprintf("Some of [%s] are not assigned to interface %s", strings.Join(in.Ipv4Prefixes, ", "), id)}
			}
		}
		one.IPs, one.Prefixes = without(one.IPs, in.PrivateIpAddresses), without(one.Prefixes, in.Ipv4Prefixes)
		s.subnet(one.Subnet).Free += len(in.PrivateIpAddresses) + 16*len(in.Ipv4Prefixes)
		s.changed()
		return nil, nil
	})
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return slices.Clone(list)
}

func without(list, gone []string) []string {
	return slices.DeleteFunc(orEmpty(list), func(one string) bool { return slices.Contains(gone, one) })
}

func (s ec2Service) AssignIpv6Addresses(ctx context.Context, in *ec2.AssignIpv6AddressesInput, _ ...func(*ec2.Options)) (*ec2.AssignIpv6AddressesOutput, error) {
	id, prefixes := aws.ToString(in.NetworkInterfaceId), int(aws.ToInt32(in.Ipv6PrefixCount))
	out := &ec2.AssignIpv6AddressesOutput{}
	err := s.call(ctx, "AssignIpv6Addresses", arguments{"eni": id, "prefixes": prefixes}, func() (arguments, *ec2Error) {
		one := s.find(id)
		if one == nil {
			return nil, notFound(id)
		}
		where := s.subnet(one.Subnet)
		if where.CIDR6 == "" {
			return nil, &ec2Error{"InvalidParameterValue", fmt.Sprintf("The subnet %s has no IPv6 CIDR block", where.ID)}
		}
		for range prefixes {
			out.AssignedIpv6Prefixes = append(out.AssignedIpv6Prefixes, s.prefix6(where))
		}
		one.Prefixes6 = append(one.Prefixes6, out.AssignedIpv6Prefixes...)
		s.changed()
		return arguments{"prefixes": orEmpty(out.AssignedIpv6Prefixes)}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s ec2Service) UnassignIpv6Addresses(ctx context.Context, in *ec2.UnassignIpv6AddressesInput, _ ...func(*ec2.Options)) (*ec2.UnassignIpv6AddressesOutput, error) {
	id := aws.ToString(in.NetworkInterfaceId)
	given := arguments{"eni": id, "prefixes": orEmpty(in.Ipv6Prefixes)}
	return &ec2.UnassignIpv6AddressesOutput{}, s.call(ctx, "UnassignIpv6Addresses", given, func() (arguments, *ec2Error) {
		one := s.find(id)
		if one == nil {
			return nil, notFound(id)
		}
		one.Prefixes6 = without(one.Prefixes6, in.Ipv6Prefixes)
		s.changed()
		return nil, nil
	})
}

func (s ec2Service) DescribeNetworkInterfaces(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput, _ ...func(*ec2.Options)) (*ec2.DescribeNetworkInterfacesOutput, error) {
	given := arguments{}
	if len(in.NetworkInterfaceIds) > 0 {
		ids := slices.Clone(in.NetworkInterfaceIds)
		given["enis"] = ids
	}
	if len(in.Filters) > 0 {
		given["filters"] = filterText(in.Filters)
	}
	out := &ec2.DescribeNetworkInterfacesOutput{}
	err := s.call(ctx, "DescribeNetworkInterfaces", given, func() (arguments, *ec2Error) {
		var found []*eni
		for _, id := range in.NetworkInterfaceIds {
			one := s.find(id)
			if one == nil {
				return nil, notFound(id)
			}
			found = append(found, one)
		}
		for _, one := range s.ENIs {
			if len(in.NetworkInterfaceIds) == 0 && matches(one, in.Filters) {
				found = append(found, one)
			}
		}
		forms := []any{}
		for _, one := range found {
			out.NetworkInterfaces = append(out.NetworkInterfaces, described(one))
			forms = append(forms, plain(struct {
				*eni
				Attachment string `json:"attachment,omitempty"`
			}{one, attachmentOf(one)}))
		}
		return arguments{"enis": forms}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func attachmentOf(e *eni) string {
	if e.Attached {
		return e.attachment()
	}
	return ""
}

func filterText(filters []types.Filter) map[string][]string {
	text := map[string][]string{}
	for _, filter := range filters {
		text[aws.ToString(filter.Name)] = orEmpty(filter.Values)
	}
	return text
}

// matches applies the filters that the original uses.
func matches(e *eni, filters []types.Filter) bool {
	for _, filter := range filters {
		name, ok := aws.ToString(filter.Name), false
		switch {
		case name == "vpc-id":
			ok = slices.Contains(filter.Values, vpcID)
		case name == "status":
			ok = slices.Contains(filter.Values, e.Status)
		case name == "tag-key":
			ok = slices.ContainsFunc(filter.Values, func(key string) bool { _, has := e.Tags[key]; return has })
		case strings.HasPrefix(name, "tag:"):
			value, has := e.Tags[strings.TrimPrefix(name, "tag:")]
			ok = has && slices.Contains(filter.Values, value)
		default:
			fatal("EC2's filter %q is new in the original and not simulated", name)
		}
		if !ok {
			return false
		}
	}
	return true
}

func described(e *eni) types.NetworkInterface {
	form := types.NetworkInterface{
		NetworkInterfaceId: aws.String(e.ID), InterfaceType: types.NetworkInterfaceType(e.Kind), Description: aws.String(e.Description),
		SubnetId: aws.String(e.Subnet), VpcId: aws.String(vpcID), MacAddress: aws.String(e.MAC), Status: types.NetworkInterfaceStatus(e.Status),
	}
	if e.Attached {
		form.Attachment = &types.NetworkInterfaceAttachment{
			AttachmentId: aws.String(e.attachment()), DeviceIndex: aws.Int32(int32(e.Device)), NetworkCardIndex: aws.Int32(int32(e.Card)),
			DeleteOnTermination: aws.Bool(e.Deletes),
		}
	}
	if e.Primary != "" && e.Kind != "efa-only" {
		form.PrivateIpAddresses = append(form.PrivateIpAddresses, types.NetworkInterfacePrivateIpAddress{Primary: aws.Bool(true), PrivateIpAddress: aws.String(e.Primary)})
	}
	for _, address := range e.IPs {
		form.PrivateIpAddresses = append(form.PrivateIpAddresses, types.NetworkInterfacePrivateIpAddress{Primary: aws.Bool(false), PrivateIpAddress: aws.String(address)})
	}
	for _, block := range e.Prefixes {
		form.Ipv4Prefixes = append(form.Ipv4Prefixes, types.Ipv4PrefixSpecification{Ipv4Prefix: aws.String(block)})
	}
	if e.Primary6 != "" {
		form.Ipv6Addresses = append(form.Ipv6Addresses, types.NetworkInterfaceIpv6Address{Ipv6Address: aws.String(e.Primary6)})
	}
	for _, block := range e.Prefixes6 {
		form.Ipv6Prefixes = append(form.Ipv6Prefixes, types.Ipv6PrefixSpecification{Ipv6Prefix: aws.String(block)})
	}
	form.TagSet = tagList(e.Tags)
	return form
}

func tagList(tags map[string]string) []types.Tag {
	var list []types.Tag
	for key, value := range tags {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return list
}

func (s ec2Service) ModifyNetworkInterfaceAttribute(ctx context.Context, in *ec2.ModifyNetworkInterfaceAttributeInput, _ ...func(*ec2.Options)) (*ec2.ModifyNetworkInterfaceAttributeOutput, error) {
	id := aws.ToString(in.NetworkInterfaceId)
	given := arguments{"eni": id}
	if in.Attachment != nil {
		given["attachment"] = aws.ToString(in.Attachment.AttachmentId)
		given["delete_on_termination"] = aws.ToBool(in.Attachment.DeleteOnTermination)
	}
	if in.Groups != nil {
		given["groups"] = slices.Clone(in.Groups)
	}
	return &ec2.ModifyNetworkInterfaceAttributeOutput{}, s.call(ctx, "ModifyNetworkInterfaceAttribute", given, func() (arguments, *ec2Error) {
		one := s.find(id)
		if one == nil {
			return nil, notFound(id)
		}
		if in.Attachment != nil {
			if !one.Attached || one.attachment() != aws.ToString(in.Attachment.AttachmentId) {
				return nil, &ec2Error{"InvalidAttachmentID.NotFound", fmt.Sprintf("The attachment ID '%s' does not exist", aws.ToString(in.Attachment.AttachmentId))}
			}
			one.Deletes = aws.ToBool(in.Attachment.DeleteOnTermination)
		}
		if in.Groups != nil {
			one.Groups = slices.Clone(in.Groups)
		}
		return nil, nil
	})
}

func (s ec2Service) CreateTags(ctx context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	tags := map[string]string{}
	for _, tag := range in.Tags {
		tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	given := arguments{"resources": slices.Clone(in.Resources), "tags": plain(tags)}
	return &ec2.CreateTagsOutput{}, s.call(ctx, "CreateTags", given, func() (arguments, *ec2Error) {
		for _, id := range in.Resources {
			if s.find(id) == nil {
				return nil, notFound(id)
			}
		}
		for _, id := range in.Resources {
			for key, value := range tags {
				s.find(id).Tags[key] = value
			}
		}
		return nil, nil
	})
}

func (s ec2Service) DescribeSubnets(ctx context.Context, in *ec2.DescribeSubnetsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error) {
	out := &ec2.DescribeSubnetsOutput{}
	err := s.call(ctx, "DescribeSubnets", arguments{"filters": filterText(in.Filters)}, func() (arguments, *ec2Error) {
		for _, one := range s.Subnets {
			out.Subnets = append(out.Subnets, types.Subnet{
				SubnetId: aws.String(one.ID), AvailableIpAddressCount: aws.Int32(int32(max(one.Free, 0))), CidrBlock: aws.String(one.CIDR), Tags: tagList(one.Tags),
			})
		}
		return arguments{"subnets": plain(s.Subnets)}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s ec2Service) DescribeSecurityGroups(ctx context.Context, _ *ec2.DescribeSecurityGroupsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error) {
	return &ec2.DescribeSecurityGroupsOutput{}, s.call(ctx, "DescribeSecurityGroups", arguments{}, func() (arguments, *ec2Error) { return nil, nil })
}
