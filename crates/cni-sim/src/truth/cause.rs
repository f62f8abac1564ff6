//! Why a node has no address for a pod that asks for one, decided from the world's state alone.
//!
//! An independent second opinion: nothing here reads a page, and nothing is shared with the rules of the program under test.

/// What keeps a node from having an address for the next pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrueCause {
    /// The instance metadata service does not answer the agent.
    MetadataDown,
    /// A setting keeps the agent from attaching ENIs and addresses.
    ProvisioningOff,
    /// An IPv6 node whose ENIs have no prefix.
    NoIpv6Prefix,
    /// The node has all addresses that it can have; without `MAX_ENI` there would be more.
    MaxEni,
    /// The node has all addresses that it can have, and none on ENIs in a subnet whose tag keeps pods out.
    SubnetExcluded,
    /// The node has all addresses that it can have, and more pods than that.
    MorePodsThanAddresses,
    /// The node has all addresses that it can have, enough for its pods; some rest after their last pod.
    AddressesRest,
    /// The node has as many addresses as it may have pods, so that the agent asks for no more; some rest.
    PodLimitReached,
    /// The node is cordoned, and its agent leaves the pools of such nodes as they are.
    Cordoned,
    /// The node has `MINIMUM_IP_TARGET` addresses, and no other target asks for more.
    MinimumReached,
    /// EC2 refuses the agent's credentials.
    CredentialsRefused,
    /// EC2 does not allow the agent an action.
    ActionNotAllowed,
    /// The subnet has no free /28 block.
    NoFreeBlock,
    /// The subnet has too few free addresses.
    NoFreeAddress,
    /// ENIs that the agent does not work with are in the instance's slots.
    SlotsTaken,
    /// The account may have no more ENIs.
    QuotaUsedUp,
    /// The node's `ENIConfig` does not exist.
    EniConfigMissing,
    /// The node's `ENIConfig` names a subnet or a security group that does not exist.
    EniConfigWrong,
    /// EC2 throttles the agent.
    Throttled,
    /// EC2 does not answer the agent.
    NoAnswer,
    /// EC2 refuses the agent's calls with another code.
    OtherCode,
    /// EC2 takes very long to answer the agent.
    AnswerLate,
    /// New ENIs do not appear in the instance metadata.
    NewEniHidden,
    /// All targets are 0: the agent asks for more only after a pod was refused.
    TargetsZero,
    /// Nothing is in the way: the pool grows more slowly than pods come.
    PoolBehindPods,
}

/// What stands in the way of one of the two ways to more addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing: a call would succeed.
    Open,
    /// This.
    Blocked(TrueCause),
    /// It does not exist: no ENI has room, or no slot is left.
    None,
}

/// The state of a node and of what it depends on.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one observation of the world")]
pub(crate) struct NodeState {
    pub(crate) metadata_down: bool,
    pub(crate) provisions: bool,
    pub(crate) ipv6: bool,
    /// Addresses for pods on its ENIs, and the most that there can be with and without `MAX_ENI`.
    pub(crate) held: u32,
    pub(crate) most: u32,
    pub(crate) most_of_type: u32,
    /// ENIs of it are in a subnet whose tag keeps pods out.
    pub(crate) excluded: bool,
    /// Pods that have an address or ask for one.
    pub(crate) pods: u32,
    /// The kubelet's limit.
    pub(crate) max_pods: u32,
    pub(crate) cordoned: bool,
    pub(crate) manages_cordoned: bool,
    /// `MINIMUM_IP_TARGET`, where it is the only target.
    pub(crate) only_minimum: Option<u32>,
    pub(crate) targets_zero: bool,
    /// EC2 answers calls by which nodes get more addresses much later.
    pub(crate) answers_late: bool,
    pub(crate) hides_new_enis: bool,
    /// More addresses on an ENI that is there.
    pub(crate) more_addresses: Way,
    /// One more ENI.
    pub(crate) more_enis: Way,
}

impl NodeState {
    /// The cause of a request that is refused in this state.
    pub(crate) fn cause(&self) -> TrueCause {
        if let Some(cause) = self.by_its_state() {
            return cause;
        }
        match (self.more_addresses, self.more_enis) {
            _ if self.answers_late => TrueCause::AnswerLate,
            (Way::Blocked(cause), Way::Blocked(_) | Way::None) | (Way::None, Way::Blocked(cause)) => cause,
            (Way::None, _) if self.hides_new_enis => TrueCause::NewEniHidden,
            _ if self.targets_zero => TrueCause::TargetsZero,
            _ => TrueCause::PoolBehindPods,
        }
    }

    /// What keeps the agent from asking for more at all.
    fn by_its_state(&self) -> Option<TrueCause> {
        let is_full = self.held > 0 && self.held >= self.most;
        if self.metadata_down {
            return Some(TrueCause::MetadataDown);
        }
        if !self.provisions {
            return Some(TrueCause::ProvisioningOff);
        }
        if self.ipv6 {
            return (self.held == 0).then_some(TrueCause::NoIpv6Prefix);
        }
        if is_full && self.excluded {
            return Some(TrueCause::SubnetExcluded);
        }
        if is_full && self.most < self.most_of_type {
            return Some(TrueCause::MaxEni);
        }
        if is_full {
            let too_many = self.pods > self.held;
            return Some(if too_many { TrueCause::MorePodsThanAddresses } else { TrueCause::AddressesRest });
        }
        if self.held >= self.max_pods {
            return Some(TrueCause::PodLimitReached);
        }
        if self.cordoned && !self.manages_cordoned {
            return Some(TrueCause::Cordoned);
        }
        self.only_minimum.is_some_and(|minimum| self.held >= minimum).then_some(TrueCause::MinimumReached)
    }
}

/// The cause behind a code with which EC2 answers, in EC2's and STS's own spelling; agents with version 1 of the SDK also count
/// the SDK's codes.
pub(crate) fn of_code(code: &str) -> TrueCause {
    match code {
        "UnauthorizedOperation" => TrueCause::ActionNotAllowed,
        "InsufficientCidrBlocks" => TrueCause::NoFreeBlock,
        "InsufficientFreeAddressesInSubnet" => TrueCause::NoFreeAddress,
        "AttachmentLimitExceeded" => TrueCause::SlotsTaken,
        "NetworkInterfaceLimitExceeded" => TrueCause::QuotaUsedUp,
        "RequestLimitExceeded" | "Throttling" => TrueCause::Throttled,
        "RequestError" | "RequestCanceled" => TrueCause::NoAnswer,
        "AccessDenied"
        | "WebIdentityErr"
        | "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "InvalidIdentityToken"
        | "NoCredentialProviders" => TrueCause::CredentialsRefused,
        _ => TrueCause::OtherCode,
    }
}

/// Requests of one node that were refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueRefusals {
    /// The node's name.
    pub node: String,
    /// Why.
    pub cause: TrueCause,
    /// How many since the last look.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: NodeState = NodeState {
        metadata_down: false,
        provisions: true,
        ipv6: false,
        held: 9,
        most: 27,
        most_of_type: 27,
        excluded: false,
        pods: 12,
        max_pods: 29,
        cordoned: false,
        manages_cordoned: false,
        only_minimum: None,
        targets_zero: false,
        answers_late: false,
        hides_new_enis: false,
        more_addresses: Way::None,
        more_enis: Way::Open,
    };

    #[test]
    fn what_keeps_the_agent_from_asking_comes_before_what_ec2_would_answer() {
        let dry = Way::Blocked(TrueCause::NoFreeAddress);
        let blocked = NodeState { more_enis: dry, ..CALM };
        let cause = |state: NodeState| state.cause();
        assert_eq!(cause(blocked), TrueCause::NoFreeAddress);
        assert_eq!(cause(NodeState { metadata_down: true, ..blocked }), TrueCause::MetadataDown);
        assert_eq!(cause(NodeState { provisions: false, ..blocked }), TrueCause::ProvisioningOff);
        assert_eq!(cause(NodeState { cordoned: true, ..blocked }), TrueCause::Cordoned);
        assert_eq!(cause(NodeState { cordoned: true, manages_cordoned: true, ..blocked }), TrueCause::NoFreeAddress);
        assert_eq!(cause(NodeState { only_minimum: Some(9), ..blocked }), TrueCause::MinimumReached);
        assert_eq!(cause(NodeState { only_minimum: Some(10), ..blocked }), TrueCause::NoFreeAddress);
        assert_eq!(cause(NodeState { max_pods: 9, ..blocked }), TrueCause::PodLimitReached);
        assert_eq!(cause(NodeState { ipv6: true, held: 0, ..CALM }), TrueCause::NoIpv6Prefix);
    }

    #[test]
    fn a_full_node_is_small_by_setting_has_too_many_pods_or_rests() {
        let full = NodeState { held: 27, pods: 40, ..CALM };
        assert_eq!(full.cause(), TrueCause::MorePodsThanAddresses);
        assert_eq!(NodeState { pods: 27, ..full }.cause(), TrueCause::AddressesRest);
        assert_eq!(NodeState { held: 18, most: 18, ..full }.cause(), TrueCause::MaxEni);
        assert_eq!(NodeState { excluded: true, ..full }.cause(), TrueCause::SubnetExcluded);
    }

    #[test]
    fn one_open_way_is_enough_to_grow() {
        let dry = Way::Blocked(TrueCause::NoFreeAddress);
        let both = |more_addresses, more_enis| NodeState { more_addresses, more_enis, ..CALM }.cause();
        assert_eq!(both(dry, Way::Open), TrueCause::PoolBehindPods);
        assert_eq!(both(Way::Open, dry), TrueCause::PoolBehindPods);
        assert_eq!(both(dry, Way::None), TrueCause::NoFreeAddress);
        assert_eq!(both(dry, Way::Blocked(TrueCause::QuotaUsedUp)), TrueCause::NoFreeAddress);
        assert_eq!(NodeState { hides_new_enis: true, ..CALM }.cause(), TrueCause::NewEniHidden);
        assert_eq!(NodeState { targets_zero: true, ..CALM }.cause(), TrueCause::TargetsZero);
        assert_eq!(NodeState { answers_late: true, ..CALM }.cause(), TrueCause::AnswerLate);
    }

    #[test]
    fn codes_are_spelled_as_aws_does() {
        assert_eq!(of_code("UnauthorizedOperation"), TrueCause::ActionNotAllowed);
        assert_eq!(of_code("InvalidIdentityToken"), TrueCause::CredentialsRefused);
        assert_eq!(of_code("InternalError"), TrueCause::OtherCode);
    }
}
