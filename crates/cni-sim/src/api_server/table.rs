//! `kubectl get`'s columns: the Table representation of objects.

mod cells;

use crate::kube_store::json::Json;
use crate::kube_store::manifest::{write_object, write_partial, write_type};
use crate::kube_store::{Kind, Stored};

/// One column: name, JSON type, format, priority (0 is always shown, 1 with `-o wide`).
type Column = (&'static str, &'static str, &'static str, i32);

const NAME: Column = ("Name", "string", "name", 0);
const AGE: Column = ("Age", "string", "", 0);

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Pod => &[
            NAME,
            ("Ready", "string", "", 0),
            ("Status", "string", "", 0),
            ("Restarts", "string", "", 0),
            AGE,
            ("IP", "string", "", 1),
            ("Node", "string", "", 1),
            ("Nominated Node", "string", "", 1),
            ("Readiness Gates", "string", "", 1),
        ],
        Kind::Node => &[
            NAME,
            ("Status", "string", "", 0),
            ("Roles", "string", "", 0),
            AGE,
            ("Version", "string", "", 0),
            ("Internal-IP", "string", "", 1),
            ("External-IP", "string", "", 1),
            ("OS-Image", "string", "", 1),
            ("Kernel-Version", "string", "", 1),
            ("Container-Runtime", "string", "", 1),
        ],
        Kind::Namespace => &[NAME, ("Status", "string", "", 0), AGE],
        Kind::DaemonSet => &[
            NAME,
            ("Desired", "integer", "", 0),
            ("Current", "integer", "", 0),
            ("Ready", "integer", "", 0),
            ("Up-to-date", "integer", "", 0),
            ("Available", "integer", "", 0),
            ("Node Selector", "string", "", 0),
            AGE,
            ("Containers", "string", "", 1),
            ("Images", "string", "", 1),
            ("Selector", "string", "", 1),
        ],
        Kind::Lease => &[NAME, ("Holder", "string", "", 0), AGE],
        Kind::EniConfig | Kind::CniNode => &[NAME, AGE],
    }
}

/// What a row carries besides its cells (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl IncludeObject {
    pub(crate) fn parse(parameter: Option<&str>) -> Self {
        match parameter {
            Some("None") => Self::None,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// How to write tables for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableStyle {
    pub(crate) version: &'static str,
    pub(crate) include: IncludeObject,
    /// The present, for ages.
    pub(crate) now_ms: i64,
}

/// Everything of a table before its rows, as members of an open object.
pub(crate) fn write_head(json: &mut Json, kind: Kind, style: TableStyle, metadata: impl FnOnce(&mut Json)) {
    write_type(json, "Table", &format!("meta.k8s.io/{}", style.version));
    json.object_at("metadata", metadata);
    json.array_at("columnDefinitions", |json| {
        for (name, kind, format, priority) in columns(kind) {
            json.object(|json| {
                json.str_at("name", name);
                json.str_at("type", kind);
                json.str_at("format", format);
                json.str_at("description", "");
                json.int_at("priority", *priority);
            });
        }
    });
}

/// One row.
pub(crate) fn write_row(json: &mut Json, stored: &Stored, style: TableStyle) {
    json.object(|json| {
        json.array_at("cells", |json| cells::write(json, &stored.object, style.now_ms));
        match style.include {
            IncludeObject::None => {}
            IncludeObject::Metadata => {
                json.member("object", |json| write_partial(json, stored, style.version));
            }
            IncludeObject::Object => json.member("object", |json| write_object(json, stored, true)),
        }
    });
}
