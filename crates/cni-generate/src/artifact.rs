//! What a subcommand makes.

/// One file that is made.
pub(super) struct Artifact {
    pub(super) name: String,
    pub(super) body: String,
}

impl Artifact {
    pub(super) fn new(name: impl Into<String>, body: impl Into<String>) -> Self {
        Self { name: name.into(), body: body.into() }
    }

    /// Pretty JSON that ends with a line feed.
    pub(super) fn json(name: impl Into<String>, value: &impl serde::Serialize) -> anyhow::Result<Self> {
        Ok(Self::new(name, serde_json::to_string_pretty(value)? + "\n"))
    }
}

/// What one subcommand makes: the one artifact that goes to the standard output, or all of them for a directory.
pub(super) struct Output {
    pub(super) shown: Artifact,
    pub(super) beside: Vec<Artifact>,
    /// What the person should know before using it; one line.
    pub(super) notice: Option<String>,
}

impl Output {
    pub(super) fn one(artifact: Artifact) -> Self {
        Self::with(artifact, Vec::new())
    }

    pub(super) fn with(shown: Artifact, beside: Vec<Artifact>) -> Self {
        Self { shown, beside, notice: None }
    }
}
