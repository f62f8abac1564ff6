//! Codes of EC2's on the page.

use cni_types::ec2::Ec2Operation;

use super::{api_errors, count, request_errors};
use crate::world::{Fault, World};

#[test]
fn a_code_that_no_table_has_is_counted_as_ec2_sent_it() {
    let mut world = World::serving(&[], 3, 4);
    let (op, code) = (Ec2Operation::CreateNetworkInterface, Some("InvalidSubnetID.NotFound"));
    world.faults.push(Fault { op, code, times: 1, done: false, hold_ms: None });
    for key in 0..3 {
        world.add(key);
    }
    assert!(world.run_until(60_000, |world| world.calls(op).1 == 1));
    world.run_ms(1_000);
    assert_eq!(api_errors(&world, "CreateNetworkInterface,InvalidSubnetID.NotFound"), 1);
    assert_eq!(request_errors(&world, "CreateNetworkInterface"), 1);
    let latency = "CreateNetworkInterface,true,InvalidSubnetID.NotFound";
    assert_eq!(count(&world, "awscni_aws_api_latency_ms_count", latency), 1);
}
