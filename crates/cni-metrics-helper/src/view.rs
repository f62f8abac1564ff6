//! A snapshot as people and programs read it: tables, and one JSON object.

pub mod clusters;
pub mod findings;
pub mod json;
pub mod schema;
pub mod table;
pub mod wrap;
