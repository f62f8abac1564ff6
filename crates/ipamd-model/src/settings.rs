//! The agent's environment variables, parsed as the agent parses them.

/// Settings of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {}

impl Settings {
    /// Reads name/value pairs; an unset name takes the code's default.
    pub fn from_env<'a>(_pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        todo!()
    }

    /// The defaults of the shipped manifest.
    pub fn manifest() -> Self {
        todo!()
    }
}
