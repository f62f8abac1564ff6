//! The Describe operations.

use super::filter::{Filterable, Filters, keep_ids, page};
use super::view::{Ec2View, Instance, NetworkInterface, Subnet, Tags};
use crate::aws::doc::Doc;
use crate::aws::error::AwsError;
use cni_types::ec2::Ec2Code;

const ACCOUNT: &str = "123456789012";

/// The answer to `operation`.
pub(super) fn answer(view: &dyn Ec2View, operation: &str, input: &Doc) -> Result<Doc, AwsError> {
    match operation {
        "DescribeSubnets" => {
            let mut subnets = view.subnets();
            keep_ids(&mut subnets, input, "SubnetId", "InvalidSubnetID.NotFound", |subnet| &subnet.subnet_id)?;
            described(subnets, input, "subnetSet", subnet_doc)
        }
        "DescribeInstances" => {
            let mut all = view.instances();
            keep_ids(&mut all, input, "InstanceId", "InvalidInstanceID.NotFound", |instance| &instance.instance_id)?;
            described(all, input, "reservationSet", reservation_doc)
        }
        "DescribeNetworkInterfaces" => {
            let mut all = view.network_interfaces();
            let not_found = Ec2Code::InvalidNetworkInterfaceIdNotFound.name();
            keep_ids(&mut all, input, "NetworkInterfaceId", not_found, |eni| &eni.network_interface_id)?;
            described(all, input, "networkInterfaceSet", interface_doc)
        }
        "DescribeTags" => described(all_tags(view), input, "tagSet", tag_doc),
        "GetSubnetCidrReservations" => reservations(view, input),
        other => {
            Err(AwsError::new(400, "InvalidAction", format!("The action {other} is not valid for this web service.")))
        }
    }
}

/// Filters, cuts a page, and writes only that page.
fn described<T: Filterable>(
    mut items: Vec<T>,
    input: &Doc,
    set: &str,
    doc: impl Fn(&T) -> Doc,
) -> Result<Doc, AwsError> {
    Filters::decode(input)?.keep(&mut items)?;
    let (items, next) = page(items, input)?;
    let output = Doc::map([(set, Doc::List(items.iter().map(doc).collect()))]);
    Ok(match next {
        Some(token) => output.with("nextToken", Doc::Text(token)),
        None => output,
    })
}

fn text(value: &str) -> Doc {
    Doc::text(value)
}

fn tag_set(tags: &Tags) -> Doc {
    Doc::List(tags.iter().map(|(key, value)| Doc::map([("key", text(key)), ("value", text(value))])).collect())
}

impl Filterable for Subnet {
    fn values(&self, name: &str) -> Option<Vec<String>> {
        Some(vec![match name {
            "subnet-id" => self.subnet_id.clone(),
            "vpc-id" => self.vpc_id.clone(),
            "availability-zone" | "availabilityZone" => self.availability_zone.clone(),
            "cidr-block" | "cidr" | "cidrBlock" => self.cidr_block.clone(),
            "available-ip-address-count" => self.available_ip_address_count.to_string(),
            "state" => "available".to_owned(),
            "owner-id" => ACCOUNT.to_owned(),
            _ => return None,
        }])
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

fn subnet_doc(subnet: &Subnet) -> Doc {
    Doc::map([
        ("subnetId", text(&subnet.subnet_id)),
        ("state", text("available")),
        ("ownerId", text(ACCOUNT)),
        ("vpcId", text(&subnet.vpc_id)),
        ("cidrBlock", text(&subnet.cidr_block)),
        ("availableIpAddressCount", Doc::Text(subnet.available_ip_address_count.to_string())),
        ("availabilityZone", text(&subnet.availability_zone)),
        ("defaultForAz", Doc::Bool(false)),
        ("mapPublicIpOnLaunch", Doc::Bool(false)),
        ("tagSet", tag_set(&subnet.tags)),
    ])
}

impl Filterable for Instance {
    fn values(&self, name: &str) -> Option<Vec<String>> {
        Some(vec![match name {
            "instance-id" => self.instance_id.clone(),
            "instance-type" => self.instance_type.clone(),
            "instance-state-name" => self.state.clone(),
            "subnet-id" => self.subnet_id.clone(),
            "vpc-id" => self.vpc_id.clone(),
            "availability-zone" => self.availability_zone.clone(),
            "private-dns-name" => self.private_dns_name.clone(),
            "private-ip-address" => self.private_ip.clone(),
            _ => return None,
        }])
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

/// Each instance in a reservation of its own, as an auto-scaling group's launches mostly are.
fn reservation_doc(instance: &Instance) -> Doc {
    let state_code = match instance.state.as_str() {
        "pending" => 0,
        "running" => 16,
        "shutting-down" => 32,
        "terminated" => 48,
        "stopping" => 64,
        _ => 80,
    };
    let item = Doc::map([
        ("instanceId", text(&instance.instance_id)),
        ("instanceState", Doc::map([("code", Doc::Int(state_code)), ("name", text(&instance.state))])),
        ("privateDnsName", text(&instance.private_dns_name)),
        ("instanceType", text(&instance.instance_type)),
        ("launchTime", Doc::Time(instance.launch_time_ms)),
        (
            "placement",
            Doc::map([("availabilityZone", text(&instance.availability_zone)), ("tenancy", text("default"))]),
        ),
        ("subnetId", text(&instance.subnet_id)),
        ("vpcId", text(&instance.vpc_id)),
        ("privateIpAddress", text(&instance.private_ip)),
        ("tagSet", tag_set(&instance.tags)),
    ]);
    Doc::map([
        ("reservationId", Doc::Text(instance.instance_id.replacen("i-", "r-", 1))),
        ("ownerId", text(ACCOUNT)),
        ("groupSet", Doc::List(Vec::new())),
        ("instancesSet", Doc::List(vec![item])),
    ])
}

impl Filterable for NetworkInterface {
    fn values(&self, name: &str) -> Option<Vec<String>> {
        let attached = |value: fn(&super::view::Attachment) -> String| self.attachment.iter().map(value).collect();
        Some(vec![match name {
            "network-interface-id" => self.network_interface_id.clone(),
            "subnet-id" => self.subnet_id.clone(),
            "vpc-id" => self.vpc_id.clone(),
            "availability-zone" => self.availability_zone.clone(),
            "status" => self.status.clone(),
            "interface-type" => self.interface_type.clone(),
            "description" => self.description.clone(),
            "attachment.instance-id" => return Some(attached(|attachment| attachment.instance_id.clone())),
            "attachment.attachment-id" => return Some(attached(|attachment| attachment.attachment_id.clone())),
            "attachment.device-index" => return Some(attached(|attachment| attachment.device_index.to_string())),
            "private-ip-address" => return Some(self.private_ips.first().cloned().into_iter().collect()),
            "addresses.private-ip-address" => return Some(self.private_ips.clone()),
            _ => return None,
        }])
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

fn interface_doc(eni: &NetworkInterface) -> Doc {
    let addresses = eni.private_ips.iter().enumerate();
    let addresses =
        addresses.map(|(i, ip)| Doc::map([("privateIpAddress", text(ip)), ("primary", Doc::Bool(i == 0))])).collect();
    let prefixes =
        |name: &str, all: &[String]| Doc::List(all.iter().map(|prefix| Doc::map([(name, text(prefix))])).collect());
    let mut doc = Doc::map([
        ("networkInterfaceId", text(&eni.network_interface_id)),
        ("subnetId", text(&eni.subnet_id)),
        ("vpcId", text(&eni.vpc_id)),
        ("availabilityZone", text(&eni.availability_zone)),
        ("description", text(&eni.description)),
        ("ownerId", text(ACCOUNT)),
        ("status", text(&eni.status)),
        ("interfaceType", text(&eni.interface_type)),
        ("groupSet", Doc::List(Vec::new())),
        ("privateIpAddressesSet", Doc::List(addresses)),
        ("ipv4PrefixSet", prefixes("ipv4Prefix", &eni.ipv4_prefixes)),
        ("ipv6PrefixSet", prefixes("ipv6Prefix", &eni.ipv6_prefixes)),
        ("tagSet", tag_set(&eni.tags)),
    ]);
    if let Some(primary) = eni.private_ips.first() {
        doc = doc.with("privateIpAddress", text(primary));
    }
    if let Some(attachment) = &eni.attachment {
        let attachment = Doc::map([
            ("attachmentId", text(&attachment.attachment_id)),
            ("instanceId", text(&attachment.instance_id)),
            ("instanceOwnerId", text(ACCOUNT)),
            ("deviceIndex", Doc::Int(attachment.device_index.into())),
            ("status", text("attached")),
        ]);
        doc = doc.with("attachment", attachment);
    }
    doc
}

/// One tag of one resource, as `DescribeTags` lists them.
struct Tagging {
    resource_id: String,
    resource_type: &'static str,
    key: String,
    value: String,
}

impl Filterable for Tagging {
    fn values(&self, name: &str) -> Option<Vec<String>> {
        Some(vec![match name {
            "resource-id" => self.resource_id.clone(),
            "resource-type" => self.resource_type.to_owned(),
            "key" => self.key.clone(),
            "value" => self.value.clone(),
            // Here `tag:…` means this very tag.
            _ => return (name.strip_prefix("tag:")? == self.key).then(|| vec![self.value.clone()]).or(Some(vec![])),
        }])
    }

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

fn all_tags(view: &dyn Ec2View) -> Vec<Tagging> {
    let mut all = Vec::new();
    let mut add = |resource_id: &str, resource_type, tags: Tags| {
        let tagging = |(key, value)| Tagging { resource_id: resource_id.to_owned(), resource_type, key, value };
        all.extend(tags.into_iter().map(tagging));
    };
    for instance in view.instances() {
        add(&instance.instance_id, "instance", instance.tags);
    }
    for eni in view.network_interfaces() {
        add(&eni.network_interface_id, "network-interface", eni.tags);
    }
    for subnet in view.subnets() {
        add(&subnet.subnet_id, "subnet", subnet.tags);
    }
    all
}

fn tag_doc(tagging: &Tagging) -> Doc {
    Doc::map([
        ("resourceId", text(&tagging.resource_id)),
        ("resourceType", text(tagging.resource_type)),
        ("key", text(&tagging.key)),
        ("value", text(&tagging.value)),
    ])
}

fn reservations(view: &dyn Ec2View, input: &Doc) -> Result<Doc, AwsError> {
    let wanted = input.get("SubnetId").and_then(Doc::as_text).unwrap_or("");
    let Some(subnet) = view.subnets().into_iter().find(|subnet| subnet.subnet_id == wanted) else {
        let message = format!("The subnet ID '{wanted}' does not exist");
        return Err(AwsError::new(400, "InvalidSubnetID.NotFound", message));
    };
    let (items, next) = page(subnet.cidr_reservations, input)?;
    let items = items.iter().map(|reservation| {
        Doc::map([
            ("subnetCidrReservationId", text(&reservation.reservation_id)),
            ("subnetId", text(wanted)),
            ("cidr", text(&reservation.cidr)),
            ("reservationType", text(&reservation.kind)),
            ("ownerId", text(ACCOUNT)),
        ])
    });
    let output = Doc::map([
        ("subnetIpv4CidrReservationSet", Doc::List(items.collect())),
        ("subnetIpv6CidrReservationSet", Doc::List(Vec::new())),
    ]);
    Ok(match next {
        Some(token) => output.with("nextToken", Doc::Text(token)),
        None => output,
    })
}
