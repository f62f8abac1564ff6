//! What holds of the public interface of this crate.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is missing")]

mod fourth_sink;
