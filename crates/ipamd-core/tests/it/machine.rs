//! The machine in a small world: sequences and counters of the original, v1.23.2.

mod background;
mod bad_answers;
mod careful;
mod chaos;
mod codes;
mod growth;
mod pauses;
mod reconcile;
mod release;
mod requests;
mod start;

use ipamd_core::metrics::{PageFlavour, Shown};

use crate::world::World;

/// Every series of the page, by its name with its labels.
pub(crate) fn page(world: &World) -> Vec<(String, String)> {
    let mut page = Vec::new();
    let shown = Shown { now_ms: world.now().unix_ms(), seed: 0, nftables: false };
    world.core.metrics().render(shown, PageFlavour::V1_23, &mut page);
    let page = String::from_utf8(page).unwrap();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.to_owned())
    });
    parsed.collect()
}

/// Series of a family on the page: the values of their labels, and their own.
fn series(world: &World, family: &str) -> Vec<(String, u64)> {
    let of_family = page(world).into_iter().filter_map(|(name, value)| {
        let labels = name.strip_prefix(family)?.strip_prefix('{')?;
        let values: Vec<_> = labels.split('"').skip(1).step_by(2).collect();
        Some((values.join(","), value.parse().unwrap()))
    });
    of_family.collect()
}

/// A series' value; 0 where it is not there.
fn count(world: &World, family: &str, labels: &str) -> u64 {
    series(world, family).iter().find(|(known, _)| known == labels).map_or(0, |(_, count)| *count)
}

fn ipamd_errors(world: &World) -> Vec<(String, u64)> {
    series(world, "awscni_ipamd_error_count")
}

/// Text and place of each error that is counted under its text.
fn utils_errors(world: &World) -> Vec<(String, u64)> {
    series(world, "awscni_aws_utils_error_count")
}

fn api_errors(world: &World, labels: &str) -> u64 {
    count(world, "awscni_aws_api_error_count", labels)
}

fn request_errors(world: &World, operation: &str) -> u64 {
    count(world, "awscni_ec2api_error_count", operation)
}

fn requests(world: &World, operation: &str) -> u64 {
    count(world, "awscni_ec2api_req_count", operation)
}
