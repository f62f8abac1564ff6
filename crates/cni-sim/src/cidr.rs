//! An IPv4 block of a subnet, as a scenario writes it.

use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// First address.
    pub base: Ipv4Addr,
    /// Prefix length, 16 to 28.
    pub prefix_len: u8,
}

/// Why a text is not a usable block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not `a.b.c.d/n`.
    #[error("{0:?} is not a CIDR block: expected e.g. 10.0.0.0/20")]
    Shape(String),
    /// AWS allows /16 to /28.
    #[error("/{0} is out of range; AWS allows /16 to /28")]
    Length(u8),
    /// The base has bits beyond the prefix.
    #[error("{given} has host bits set: the block is {fits}")]
    Boundary {
        /// As written.
        given: String,
        /// The block that holds it.
        fits: String,
    },
}

impl Cidr {
    /// Reads `a.b.c.d/n`.
    pub fn read(text: &str) -> Result<Self, CidrError> {
        let shape = || CidrError::Shape(text.to_owned());
        let (base, length) = text.split_once('/').ok_or_else(shape)?;
        let base: Ipv4Addr = base.parse().map_err(|_| shape())?;
        let prefix_len: u8 = length.parse().map_err(|_| shape())?;
        if !(16..=28).contains(&prefix_len) {
            return Err(CidrError::Length(prefix_len));
        }
        let aligned = u32::from(base) & !(Self { base, prefix_len }.size() - 1);
        if aligned != u32::from(base) {
            let fits = Self { base: Ipv4Addr::from(aligned), prefix_len }.to_string();
            return Err(CidrError::Boundary { given: text.to_owned(), fits });
        }
        Ok(Self { base, prefix_len })
    }

    /// Number of addresses, reserved ones included.
    pub fn size(self) -> u32 {
        1 << (32 - self.prefix_len)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_strictly() {
        assert_eq!(Cidr::read("10.0.0.0/20").unwrap().size(), 4096);
        assert!(matches!(Cidr::read("10.0.0.0"), Err(CidrError::Shape(_))));
        assert!(matches!(Cidr::read("10.0.0.0/8"), Err(CidrError::Length(8))));
        let error = Cidr::read("10.0.1.0/20").unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/20"), "{error}");
    }
}
