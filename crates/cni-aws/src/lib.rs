//! AWS without most of its SDK: one HTTP client for all calls, the instance's metadata, and one EC2 call that does not
//! justify an SDK crate. Each question has its own time limit and a [`Verdict`].

mod environment;
pub mod http;
pub mod identity;
pub mod metadata;
pub mod tags;

pub use environment::{Environment, RoleVariables};
pub use http::{AwsHttp, CaBundleError};

/// The outcome of a question. "Did not answer" is not "does not say": only the second is an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<T> {
    /// The value.
    Says(T),
    /// It answered that there is none, or that it may not be asked; this is why.
    SaysNo(String),
    /// No answer, or an error of the service itself; this is why.
    Unavailable(String),
}

impl<T> Verdict<T> {
    /// Asking again may bring more.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// This one, unless it is open: then the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_open() { other } else { self }
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Says(value) => Some(value),
            Self::SaysNo(_) | Self::Unavailable(_) => None,
        }
    }
}

/// An HTTP status other than success: a refusal is an answer, a fault of the service is none.
pub(crate) fn refused<T>(status: u16, text: String) -> Verdict<T> {
    match status {
        401 | 403 | 404 => Verdict::SaysNo(text),
        _ => Verdict::Unavailable(text),
    }
}
