//! Why a step failed.

use cni_types::ec2::Ec2Code;

use crate::input::{Ec2Failure, Fate};

/// An error with the code of EC2's, if one of EC2's caused it, and the text that logs and one label of the page show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    code: Option<Box<str>>,
    text: String,
    unknown: bool,
}

impl Trouble {
    /// An error that EC2 has no part in.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { code: None, text: text.into(), unknown: false }
    }

    /// Puts words before the text.
    pub(crate) fn within(mut self, words: &str) -> Self {
        self.text = format!("{words}: {}", self.text);
        self
    }

    /// The same text, but no longer EC2's error to those who look for its code.
    pub(crate) fn without_code(self) -> Self {
        Self { code: None, ..self }
    }

    /// It is EC2's, with this code.
    pub(crate) fn is(&self, code: Ec2Code) -> bool {
        self.code.as_deref() == Some(code.name())
    }

    /// It is an answer of EC2's, as opposed to none.
    pub(crate) fn is_api_error(&self) -> bool {
        self.code.is_some()
    }

    /// What was asked may have been done.
    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// A subnet has no more addresses.
    pub(crate) fn is_insufficient(&self) -> bool {
        Ec2Code::ANSWERED.iter().any(|code| code.is_insufficient() && self.is(*code))
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<Ec2Failure> for Trouble {
    fn from(failure: Ec2Failure) -> Self {
        Self { code: failure.code, text: failure.text.into(), unknown: failure.fate == Fate::Unknown }
    }
}
