//! The simulated Kubernetes API server.

pub mod backend;

pub use backend::{Backend, SharedBackend};
