//! Many samples to one snapshot.
