//! What nodes have that names their `ENIConfig`. Only nodes with such a label or annotation cost anything.

use std::collections::HashMap;
use std::sync::Arc;

use cni_types::eni_config::NodeMarks;
use tokio::sync::watch;

use crate::discover::intern::Interner;

/// The labels and the annotation of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Marks {
    pub(crate) external: Option<Box<str>>,
    pub(crate) annotation: Option<Box<str>>,
    pub(crate) label: Option<Box<str>>,
}

impl Marks {
    fn borrowed(&self) -> NodeMarks<'_> {
        NodeMarks {
            external: self.external.as_deref(),
            annotation: self.annotation.as_deref(),
            label: self.label.as_deref(),
            zone: None,
        }
    }
}

/// Nodes that are listed, with their marks.
#[derive(Debug, Default)]
pub(crate) struct NodeMarksByName {
    marked: HashMap<Box<str>, Arc<Marks>>,
    /// Equal marks are kept once.
    known: Interner<Marks>,
    /// A list of nodes is complete: those without an entry have no mark.
    is_listed: bool,
}

impl NodeMarksByName {
    /// The marks of a node; `None` while nodes are not listed.
    pub(crate) fn marks(&self, node: &str) -> Option<NodeMarks<'_>> {
        self.is_listed.then(|| self.marked.get(node).map_or_else(NodeMarks::default, |marks| marks.borrowed()))
    }
}

/// The table, written by the watch of nodes.
#[derive(Debug, Default)]
pub(crate) struct MarksTable(watch::Sender<NodeMarksByName>);

impl MarksTable {
    pub(super) fn read(&self) -> watch::Ref<'_, NodeMarksByName> {
        self.0.borrow()
    }

    /// Replaces all at once: a list is complete.
    pub(crate) fn replace(&self, listed: HashMap<Box<str>, Marks>) {
        self.0.send_modify(|table| {
            table.marked = listed.into_iter().map(|(name, marks)| (name, table.known.shared(marks))).collect();
            table.known.sweep();
            table.is_listed = true;
        });
    }

    /// A node is new, has changed, or is gone.
    pub(crate) fn set(&self, name: &str, marks: Marks) {
        self.0.send_modify(|table| {
            if marks == Marks::default() {
                table.marked.remove(name);
            } else {
                table.marked.insert(name.into(), table.known.shared(marks));
            }
        });
    }
}
