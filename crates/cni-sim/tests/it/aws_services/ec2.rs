//! EC2's Describe operations at the HTTP level.

use std::sync::Arc;

use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::ec2::view::{Attachment, CidrReservation, Ec2View, Instance, NetworkInterface, Subnet, Tags};
use cni_sim::ec2::{Ec2, router};

use super::harness::{NOW_MS, Reply, Server, TestClock, signed};

/// Two subnets, three instances with two interfaces each.
pub(crate) struct Fixture;

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Ec2View for Fixture {
    fn subnets(&self) -> Vec<Subnet> {
        ["a", "b"]
            .into_iter()
            .map(|zone| Subnet {
                subnet_id: format!("subnet-{zone}"),
                vpc_id: "vpc-1".to_owned(),
                availability_zone: format!("eu-central-1{zone}"),
                cidr_block: "10.0.0.0/19".to_owned(),
                available_ip_address_count: 8187,
                tags: tags(&[("Name", &format!("private & {zone}")), ("kubernetes.io/role/cni", "1")]),
                cidr_reservations: vec![CidrReservation {
                    reservation_id: "scr-1".to_owned(),
                    cidr: "10.0.16.0/20".to_owned(),
                    kind: "prefix".to_owned(),
                }],
            })
            .collect()
    }

    fn instances(&self) -> Vec<Instance> {
        (0..3)
            .map(|i| Instance {
                instance_id: format!("i-{i:017}"),
                instance_type: "m5.large".to_owned(),
                state: "running".to_owned(),
                private_ip: format!("10.0.0.{}", 10 + i),
                private_dns_name: format!("ip-10-0-0-{}.eu-central-1.compute.internal", 10 + i),
                subnet_id: "subnet-a".to_owned(),
                vpc_id: "vpc-1".to_owned(),
                availability_zone: "eu-central-1a".to_owned(),
                launch_time_ms: NOW_MS,
                tags: tags(&[("eks:cluster-name", "prod"), ("Name", "node")]),
            })
            .collect()
    }

    fn network_interfaces(&self) -> Vec<NetworkInterface> {
        (0..6)
            .map(|i| NetworkInterface {
                network_interface_id: format!("eni-{i:017}"),
                subnet_id: "subnet-a".to_owned(),
                vpc_id: "vpc-1".to_owned(),
                availability_zone: "eu-central-1a".to_owned(),
                status: if i == 5 { "available" } else { "in-use" }.to_owned(),
                interface_type: "interface".to_owned(),
                description: "aws-K8S-i-0".to_owned(),
                attachment: (i != 5).then(|| Attachment {
                    attachment_id: format!("eni-attach-{i}"),
                    instance_id: format!("i-{:017}", i / 2),
                    device_index: i % 2,
                }),
                private_ips: vec![format!("10.0.1.{i}"), format!("10.0.2.{i}")],
                ipv4_prefixes: vec![format!("10.0.{}.0/28", 16 + i)],
                ipv6_prefixes: Vec::new(),
                tags: tags(&[("node.k8s.amazonaws.com/instance_id", "i-0")]),
            })
            .collect()
    }
}

async fn start() -> (Ec2, Server) {
    let ec2 = Ec2::new(TestClock::new(), Arc::new(Fixture), 1);
    let server = Server::start(router(ec2.clone())).await;
    (ec2, server)
}

async fn call(server: &Server, query: &str) -> Reply {
    let auth = signed("ec2");
    let headers: Vec<(&str, &str)> = auth.iter().map(|(name, value)| (*name, value.as_str())).collect();
    server.post("/", &headers, format!("{query}&Version=2016-11-15")).await
}

/// The text of every element `name`, in order.
fn texts(reply: &Reply, name: &str) -> Vec<String> {
    let xml = roxmltree::Document::parse(reply.text()).unwrap();
    let named = xml.descendants().filter(|node| node.tag_name().name() == name);
    named.map(|node| node.text().unwrap_or("").to_owned()).collect()
}

#[test]
async fn subnets_by_id_filter_and_tag() {
    let (_ec2, server) = start().await;
    for (query, expected) in [
        ("Action=DescribeSubnets", &["subnet-a", "subnet-b"][..]),
        ("Action=DescribeSubnets&SubnetId.1=subnet-b", &["subnet-b"]),
        ("Action=DescribeSubnets&Filter.1.Name=availability-zone&Filter.1.Value.1=*1a", &["subnet-a"]),
        ("Action=DescribeSubnets&Filter.1.Name=tag:Name&Filter.1.Value.1=*b", &["subnet-b"]),
        (
            "Action=DescribeSubnets&Filter.1.Name=tag-key&Filter.1.Value.1=kubernetes.io/role/cni",
            &["subnet-a", "subnet-b"],
        ),
        ("Action=DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-2&Filter.1.Value.2=vpc-3", &[]),
    ] {
        let reply = call(&server, query).await;
        assert_eq!(reply.status, 200, "{query}");
        assert_eq!(texts(&reply, "subnetId"), expected, "{query}");
    }
    let reply = call(&server, "Action=DescribeSubnets&SubnetId.1=subnet-a").await;
    assert_eq!(texts(&reply, "availableIpAddressCount"), ["8187"]);
    assert!(texts(&reply, "value").contains(&"private & a".to_owned()));
    let reply = call(&server, "Action=GetSubnetCidrReservations&SubnetId=subnet-a").await;
    assert_eq!(texts(&reply, "cidr"), ["10.0.16.0/20"]);
}

#[test]
async fn tags_of_one_instance() {
    let (ec2, server) = start().await;
    let query = "Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1=i-00000000000000001";
    let reply = call(&server, query).await;
    assert_eq!(texts(&reply, "key"), ["Name", "eks:cluster-name"]);
    assert_eq!(texts(&reply, "value"), ["node", "prod"]);
    let query = format!("{query}&Filter.2.Name=key&Filter.2.Value.1=eks%3Acluster-name");
    assert_eq!(texts(&call(&server, &query).await, "value"), ["prod"]);
    assert_eq!(ec2.requests()[0].operation, "DescribeTags");
    assert_eq!(ec2.requests()[0].access_key_id, "AKIDTEST");
}

#[test]
async fn interfaces_with_addresses_prefixes_and_pages() {
    let (_ec2, server) = start().await;
    let filter =
        "Action=DescribeNetworkInterfaces&Filter.1.Name=attachment.instance-id&Filter.1.Value.1=i-00000000000000001";
    let reply = call(&server, filter).await;
    assert_eq!(texts(&reply, "networkInterfaceId"), ["eni-00000000000000002", "eni-00000000000000003"]);
    assert_eq!(texts(&reply, "deviceIndex"), ["0", "1"]);
    assert_eq!(texts(&reply, "ipv4Prefix"), ["10.0.18.0/28", "10.0.19.0/28"]);
    assert_eq!(texts(&reply, "primary"), ["true", "false", "true", "false"]);

    let first = call(&server, "Action=DescribeNetworkInterfaces&MaxResults=5").await;
    assert_eq!(texts(&first, "networkInterfaceId").len(), 5);
    let token = &texts(&first, "nextToken")[0];
    let second = call(&server, &format!("Action=DescribeNetworkInterfaces&MaxResults=5&NextToken={token}")).await;
    assert_eq!(texts(&second, "networkInterfaceId"), ["eni-00000000000000005"]);
    assert!(texts(&second, "nextToken").is_empty());
}

#[test]
async fn errors_have_ec2s_shape() {
    let (ec2, server) = start().await;
    let code = |reply: &Reply| (reply.status.as_u16(), texts(reply, "Code").pop().unwrap());
    for (query, status, expected) in [
        ("Action=DescribeSubnets&SubnetId.1=subnet-x", 400, "InvalidSubnetID.NotFound"),
        ("Action=DescribeInstances&InstanceId.1=i-x", 400, "InvalidInstanceID.NotFound"),
        ("Action=DescribeSubnets&Filter.1.Name=colour&Filter.1.Value.1=red", 400, "InvalidParameterValue"),
        ("Action=DescribeSubnets&MaxResults=2", 400, "InvalidParameterValue"),
        ("Action=DescribeSubnets&NextToken=mine", 400, "InvalidParameterValue"),
        ("Action=DescribeSubnets&DryRun=true", 412, "DryRunOperation"),
        ("Action=RunInstances", 400, "InvalidAction"),
    ] {
        assert_eq!(code(&call(&server, query).await), (status, expected.to_owned()), "{query}");
    }
    let unsigned = server.post("/", &[], "Action=DescribeSubnets").await;
    assert_eq!(code(&unsigned), (403, "MissingAuthenticationToken".to_owned()));
    for (fault, status, expected) in
        [(Fault::Throttle, 503, "RequestLimitExceeded"), (Fault::AccessDenied, 403, "UnauthorizedOperation")]
    {
        ec2.faults().set(vec![FaultRule::always(fault)]);
        assert_eq!(code(&call(&server, "Action=DescribeTags").await), (status, expected.to_owned()));
        assert_eq!(ec2.requests().pop().unwrap().error.as_deref(), Some(expected));
    }
}
