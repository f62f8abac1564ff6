//! Label values, each a closed set; variants stand in the byte order of their labels, as series do on the page.

/// `fn` of `awscni_ipamd_error_count`, as far as the model can reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpamdError {
    /// The store refused a secondary address.
    AddIpsToStore,
    /// The store refused a prefix.
    AddPrefixesToStore,
    /// The store refused an IPv6 prefix.
    AddIpv6PrefixesToStore,
    /// A CIDR chosen for release could not be taken from the store.
    DecreasePool,
    /// Detaching or deleting an ENI failed.
    FreeEniFailed,
    /// Adopting an ENI failed.
    ReconcileAddEni,
    /// Sweeping an ENI failed.
    ReconcileDelEni,
    /// The rules of an ENI that was freed could not be removed.
    FreeEniRules,
    /// Creating, attaching or modifying an ENI failed.
    AllocEni,
    /// No address was available, on one ENI or with a new one.
    AllocAddresses,
    /// The look-up after `PrivateIpAddressLimitExceeded` failed.
    GetEniAddresses,
    /// A prefix allocation returned nothing (the label's spelling is the agent's).
    GetEniPrefixes,
    /// Setting up a new ENI failed.
    SetUpEni,
    /// A new ENI never showed in IMDS.
    WaitAttached,
    /// A CIDR that is gone was not in the store any more.
    ReconcileDelIp,
    /// Reconcile could not list the ENIs.
    ReconcileList,
    /// Init gave up setting up an ENI.
    SetUpRetries,
}

impl IpamdError {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddIpsToStore => "addENIsecondaryIPsToDataStoreFailed",
            Self::AddPrefixesToStore => "addENIv4prefixesToDataStoreFailed",
            Self::AddIpv6PrefixesToStore => "addENIv6prefixesToDataStoreFailed",
            Self::DecreasePool => "decreaseIPPool",
            Self::FreeEniFailed => "decreaseIPPoolFreeENIFailed",
            Self::ReconcileAddEni => "eniReconcileAdd",
            Self::ReconcileDelEni => "eniReconcileDel",
            Self::FreeEniRules => "freeENIDeleteRulesFailed",
            Self::AllocEni => "increaseIPPoolAllocENI",
            Self::AllocAddresses => "increaseIPPoolAllocIPAddressesFailed",
            Self::GetEniAddresses => "increaseIPPoolGetENIaddressesFailed",
            Self::GetEniPrefixes => "increaseIPPoolGetENIprefixedFailed",
            Self::SetUpEni => "increaseIPPoolsetupENIFailed",
            Self::WaitAttached => "increaseIPPoolwaitENIAttachedFailed",
            Self::ReconcileDelIp => "ipReconcileDel",
            Self::ReconcileList => "reconcileFailedGetENIs",
            Self::SetUpRetries => "waitENIAttachedMaxRetryExceeded",
        }
    }
}

/// `fn` of `awscni_ipamd_action_inprogress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Releasing CIDRs.
    Decrease,
    /// Growing.
    Increase,
    /// Comparing with IMDS.
    Reconcile,
    /// Initialising.
    Init,
}

impl Action {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decrease => "decreaseDatastorePool",
            Self::Increase => "increaseDatastorePool",
            Self::Reconcile => "nodeIPPoolReconcile",
            Self::Init => "nodeInit",
        }
    }
}

/// `fn` of `awscni_reconcile_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reconcile {
    /// CIDRs seen, known ones included.
    PoolAdd,
    /// CIDRs swept.
    PoolDel,
    /// ENIs adopted.
    EniAdd,
    /// ENIs swept.
    EniDel,
}

impl Reconcile {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::PoolAdd => "eniDataStorePoolReconcileAdd",
            Self::PoolDel => "eniIPPoolReconcileDel",
            Self::EniAdd => "eniReconcileAdd",
            Self::EniDel => "eniReconcileDel",
        }
    }
}

/// `fn` of `awscni_pod_eni_error_count`; what fails in init can never be scraped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodEniError {
    /// The `CNINode` object could not be read or patched.
    EnableSecurityGroups,
}

impl PodEniError {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::EnableSecurityGroups => "tryEnableSecurityGroupsForPods",
        }
    }
}

/// `fn` of `awscni_aws_utils_error_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UtilsError {
    /// The roll-back of a failed attach failed.
    AllocEniDelete,
    /// The clean-up after a failed modify failed.
    CleanUpAfterModify,
    /// Deleting a detached ENI failed.
    FreeEniDelete,
    /// Deleting a leaked ENI failed.
    CleanUpLeaked,
    /// The attachment could not be looked up.
    GetAttachmentId,
}

impl UtilsError {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllocEniDelete => "AllocENIDeleteErr",
            Self::CleanUpAfterModify => "ENICleanupUponModifyNetworkErr",
            Self::FreeEniDelete => "FreeENIDeleteErr",
            Self::CleanUpLeaked => "cleanUpLeakedENIDeleteErr",
            Self::GetAttachmentId => "getENIAttachmentIDFailed",
        }
    }
}
