//! The world that answers an agent: EC2's own invariants.

mod invariants;
