//! What the evidence of a cluster's rounds says: why pods are refused an address, and what is wrong although nothing failed yet.
//!
//! Pure: evidence and time go in, findings come out, and the same evidence gives the same findings. In reading order: what goes in
//! ([`evidence`]), what comes out ([`finding`], [`catalogue`]), and [`insight`], which keeps what must last between rounds. Inside,
//! a round's page is laid beside what is remembered of its node, `causes` names one cause of refusals per node, `troubles` what else
//! is wrong, `grouped` joins the nodes of one cause and scope, `opened` keeps what lasts of a finding, and `wording` puts each into words.

pub mod evidence;

mod severity;

mod scope;

pub mod finding;

pub mod catalogue;

pub mod hold;

pub mod mute;

mod shared;

mod memory;

mod view;

mod verdict;

mod causes;

mod troubles;

mod grouped;

mod opened;
mod fleet;

mod wording;

pub mod insight;

pub mod certainty;

#[cfg(test)]
mod play;
