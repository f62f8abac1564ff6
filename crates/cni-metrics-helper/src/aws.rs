//! AWS without surprises: one HTTP client for all of it, the instance's metadata within a bounded time, and the one
//! EC2 call that is not worth an SDK crate.

pub mod endpoint;
pub mod http;
pub mod metadata;
pub mod tags;

pub use http::{AwsHttp, CaBundleError};
