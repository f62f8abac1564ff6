//! The kinds of objects that the store holds, and one object of any kind.

use std::sync::Arc;

use super::objects::{CustomObject, DaemonSetObject, LeaseObject, Meta, NamespaceObject, NodeObject, PodObject, share};

/// The kinds the store knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Pod.
    Pod,
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `apps/v1` `DaemonSet`.
    DaemonSet,
    /// `coordination.k8s.io/v1` Lease.
    Lease,
    /// `crd.k8s.amazonaws.com/v1alpha1` `ENIConfig`.
    EniConfig,
    /// `vpcresources.k8s.aws/v1alpha1` `CNINode`.
    CniNode,
}

impl Kind {
    /// All kinds, in the order of their index.
    pub const ALL: [Self; 7] =
        [Self::Pod, Self::Node, Self::Namespace, Self::DaemonSet, Self::Lease, Self::EniConfig, Self::CniNode];

    /// The kind's name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::DaemonSet => "DaemonSet",
            Self::Lease => "Lease",
            Self::EniConfig => "ENIConfig",
            Self::CniNode => "CNINode",
        }
    }

    /// `apiVersion` of the kind.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Pod | Self::Node | Self::Namespace => "v1",
            Self::DaemonSet => "apps/v1",
            Self::Lease => "coordination.k8s.io/v1",
            Self::EniConfig => "crd.k8s.amazonaws.com/v1alpha1",
            Self::CniNode => "vpcresources.k8s.aws/v1alpha1",
        }
    }
}

/// One object of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A pod.
    Pod(Arc<PodObject>),
    /// A node.
    Node(Arc<NodeObject>),
    /// A namespace.
    Namespace(Arc<NamespaceObject>),
    /// A `DaemonSet`.
    DaemonSet(Arc<DaemonSetObject>),
    /// A lease.
    Lease(Arc<LeaseObject>),
    /// An `ENIConfig`.
    EniConfig(Arc<CustomObject>),
    /// A `CNINode`.
    CniNode(Arc<CustomObject>),
}

impl Object {
    /// The object's metadata.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Pod(object) => &object.meta,
            Self::Node(object) => &object.meta,
            Self::Namespace(object) => &object.meta,
            Self::DaemonSet(object) => &object.meta,
            Self::Lease(object) => &object.meta,
            Self::EniConfig(object) | Self::CniNode(object) => &object.meta,
        }
    }

    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::Namespace(_) => Kind::Namespace,
            Self::DaemonSet(_) => Kind::DaemonSet,
            Self::Lease(_) => Kind::Lease,
            Self::EniConfig(_) => Kind::EniConfig,
            Self::CniNode(_) => Kind::CniNode,
        }
    }

    /// What the object has in common with its earlier version, which watchers may ask for, is kept once.
    pub(super) fn share(&mut self, before: &Self) {
        self.meta_mut().share(before.meta());
        if let (Self::Node(node), Self::Node(before)) = (self, before) {
            let node = Arc::make_mut(node);
            share(&mut node.provider_id, &before.provider_id);
            share(&mut node.taints, &before.taints);
            share(&mut node.kubelet_version, &before.kubelet_version);
        }
    }

    pub(super) fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Pod(object) => &mut Arc::make_mut(object).meta,
            Self::Node(object) => &mut Arc::make_mut(object).meta,
            Self::Namespace(object) => &mut Arc::make_mut(object).meta,
            Self::DaemonSet(object) => &mut Arc::make_mut(object).meta,
            Self::Lease(object) => &mut Arc::make_mut(object).meta,
            Self::EniConfig(object) | Self::CniNode(object) => &mut Arc::make_mut(object).meta,
        }
    }
}

/// An object with the resourceVersion of its last write.
#[derive(Clone, Debug)]
pub struct Stored {
    /// `metadata.resourceVersion`.
    pub resource_version: u64,
    /// The object.
    pub object: Object,
}
