//! EC2 operations by the names that IAM and scenarios use.

use ipamd_model::ec2::Ec2Op;

/// Every operation with its name.
pub const ALL: [(Ec2Op, &str); 14] = [
    (Ec2Op::AssignIpv6Addresses, "AssignIpv6Addresses"),
    (Ec2Op::AssignPrivateIpAddresses, "AssignPrivateIpAddresses"),
    (Ec2Op::AttachNetworkInterface, "AttachNetworkInterface"),
    (Ec2Op::CreateNetworkInterface, "CreateNetworkInterface"),
    (Ec2Op::CreateTags, "CreateTags"),
    (Ec2Op::DeleteNetworkInterface, "DeleteNetworkInterface"),
    (Ec2Op::DescribeInstanceTypes, "DescribeInstanceTypes"),
    (Ec2Op::DescribeInstances, "DescribeInstances"),
    (Ec2Op::DescribeNetworkInterfaces, "DescribeNetworkInterfaces"),
    (Ec2Op::DescribeSubnets, "DescribeSubnets"),
    (Ec2Op::DetachNetworkInterface, "DetachNetworkInterface"),
    (Ec2Op::ModifyNetworkInterfaceAttribute, "ModifyNetworkInterfaceAttribute"),
    (Ec2Op::UnassignIpv6Addresses, "UnassignIpv6Addresses"),
    (Ec2Op::UnassignPrivateIpAddresses, "UnassignPrivateIpAddresses"),
];

/// The operation of this name.
pub fn by_name(name: &str) -> Option<Ec2Op> {
    ALL.iter().find(|(_, known)| *known == name).map(|(op, _)| *op)
}
