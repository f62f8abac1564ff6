//! Objects as the JSON a client sees.

/// The part of a pod's JSON that all pods of a template share.
#[derive(Debug)]
pub struct RenderedTemplate {
    /// `"containers":[…],…` of the spec, without braces.
    pub spec: String,
    /// The padding entry of `managedFields`, or empty.
    pub managed_fields: String,
}
