//! The first key of every JSON object that the program prints: `"schema": "vpc-cni/KIND/N"`.
//!
//! KIND names the object, N the version of its keys. New keys come at the end and leave N as it is; a key with a changed meaning
//! makes a new N. An object without this key has version 0. Log lines have no such key.

use std::io::{self, Write};

use serde::Serialize;

/// What a printed object is, with the version of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Schema {
    /// One round of the cluster: `once`, `inspect` and `demo`.
    #[serde(rename = "vpc-cni/look/1")]
    Look,
    /// One round of each of several clusters: `once` with several contexts.
    #[serde(rename = "vpc-cni/looks/1")]
    Looks,
    /// The effective configuration: `run --check`.
    #[serde(rename = "vpc-cni/check/1")]
    Check,
    /// An answer of `plan`; the key `command` names the subcommand.
    #[serde(rename = "vpc-cni/plan/1")]
    Plan,
}

/// An object behind its schema.
#[derive(Serialize)]
struct Marked<T> {
    schema: Schema,
    #[serde(flatten)]
    object: T,
}

impl Schema {
    /// Prints one object in a line.
    pub fn print(self, object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
        line(&Marked { schema: self, object }, out)
    }

    /// Prints a list of objects in a line; each of them has the schema.
    pub fn print_list<T: Serialize>(self, objects: impl IntoIterator<Item = T>, out: &mut dyn Write) -> io::Result<()> {
        let marked: Vec<_> = objects.into_iter().map(|object| Marked { schema: self, object }).collect();
        line(&marked, out)
    }
}

fn line(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", serde_json::to_string(value)?)
}
