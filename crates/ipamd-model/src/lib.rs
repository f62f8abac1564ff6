//! One node's ipamd as a deterministic state machine.
