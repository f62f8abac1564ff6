//! Codes of errors as labels: those of EC2's that are known by number, others as EC2 sent them.

use std::borrow::Cow;

use cni_types::ec2::Ec2Code;

/// Codes beside those that are known, of one process.
const MOST: usize = 256;
/// Bytes of such a code; what is longer is cut.
const LONGEST: usize = 128;
/// Under this label errors are counted for whose codes there is no room.
pub(super) const FURTHER: &str = "further codes, which are not counted apart";

/// The number of a code: those that are known come first, then [`FURTHER`], then the others as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Code(u16);

impl Code {
    /// No answer: no code in any label.
    pub(super) const NONE: Self = Self(u16::MAX);
}

/// The codes that one process counted, beside those that are known.
#[derive(Debug, Clone)]
pub(super) struct Codes(Vec<Box<str>>);

fn index(number: usize) -> Code {
    Code(u16::try_from(number).unwrap_or(u16::MAX))
}

impl Codes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The number of a code that is known or was counted before.
    pub(super) fn find(&self, code: &str) -> Option<Code> {
        if code.is_empty() {
            return Some(Code::NONE);
        }
        let known = Ec2Code::ANSWERED.iter().position(|known| known.name() == code);
        let own = || self.0.iter().position(|own| **own == *cut(code)).map(|at| at + Ec2Code::ANSWERED.len() + 1);
        known.or_else(own).map(index)
    }

    /// The number of a code that is new.
    pub(super) fn add(&mut self, code: &str) -> Code {
        if self.0.len() >= MOST {
            return index(Ec2Code::ANSWERED.len());
        }
        self.0.reserve_exact(1);
        self.0.push(cut(code).into());
        index(self.0.len() + Ec2Code::ANSWERED.len())
    }

    /// The code of a number, to be kept.
    pub(super) fn label(&self, code: Code) -> Cow<'static, str> {
        match Ec2Code::ANSWERED.get(usize::from(code.0)) {
            Some(known) => Cow::Borrowed(known.name()),
            None => Cow::Owned(self.name(code).to_owned()),
        }
    }

    /// The code of a number.
    pub(super) fn name(&self, code: Code) -> &str {
        let number = usize::from(code.0);
        if code == Code::NONE {
            return "";
        }
        match number.checked_sub(Ec2Code::ANSWERED.len()) {
            None => Ec2Code::ANSWERED.get(number).map_or("", |known| known.name()),
            Some(0) => FURTHER,
            Some(own) => self.0.get(own - 1).map_or(FURTHER, |own| own),
        }
    }
}

fn cut(code: &str) -> &str {
    code.get(..code.floor_char_boundary(LONGEST)).unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_number_until_there_is_no_room() {
        let mut codes = Codes::new();
        let mut number = |code: &str| {
            let number = codes.find(code).unwrap_or_else(|| codes.add(code));
            (number, codes.name(number).to_owned())
        };
        assert_eq!(number(""), (Code::NONE, String::new()));
        for known in Ec2Code::ANSWERED {
            assert_eq!(number(known.name()).1, known.name());
        }
        for round in 0..2 {
            for own in 0..MOST {
                let (number, name) = number(&format!("Own.{own}"));
                assert_eq!(usize::from(number.0), Ec2Code::ANSWERED.len() + 1 + own, "round {round}");
                assert_eq!(name, format!("Own.{own}"));
            }
        }
        assert_eq!(number("One.TooMany").1, FURTHER);
        assert_eq!(number("Another"), number("One.TooMany"));
    }

    #[test]
    fn a_long_code_is_cut_and_found_again() {
        let mut codes = Codes::new();
        let long = "ä".repeat(1_000);
        let number = codes.add(&long);
        assert_eq!(codes.name(number), "ä".repeat(LONGEST / 2));
        assert_eq!(codes.find(&long), Some(number));
    }
}
