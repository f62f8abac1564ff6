//! What both plans have: the formats, and an instance type's limits and vCPUs.

use clap::ValueEnum;

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values, one line an instance type (max-pods).
    Csv,
}

/// The limits of a type, or an error that names the types most like it.
pub(super) fn limits_of(instance_type: &str) -> anyhow::Result<cni_types::limits::InstanceLimits> {
    cni_types::limits::find(instance_type).ok_or_else(|| {
        let nearest = cni_types::limits::nearest(instance_type, 3).join(", ");
        anyhow::anyhow!("unknown instance type {instance_type:?}; the nearest known ones are {nearest}")
    })
}

/// vCPUs as told, else by the size's name, else few: the lower cap is the safer one.
pub(super) fn vcpus_of(instance_type: &str, told: Option<u32>) -> u32 {
    told.or_else(|| ipamd_model::plan::estimated_vcpus(instance_type)).unwrap_or(1)
}
