//! An address of 16 bytes: those of IPv6 lie elsewhere, and most are of IPv4.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An [`IpAddr`] with the alignment of a number, of which a simulated cluster keeps some millions beside other numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SmallIp(Inner);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Inner {
    V4(Ipv4Addr),
    V6(Box<Ipv6Addr>),
}

impl SmallIp {
    /// The address.
    pub fn get(&self) -> IpAddr {
        match &self.0 {
            Inner::V4(address) => IpAddr::V4(*address),
            Inner::V6(address) => IpAddr::V6(**address),
        }
    }
}

impl From<IpAddr> for SmallIp {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => Inner::V4(address),
            IpAddr::V6(address) => Inner::V6(Box::new(address)),
        })
    }
}

impl fmt::Debug for SmallIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for text in ["10.0.0.9", "2001:db8::1", "::ffff:10.0.0.9"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(
                (SmallIp::from(address).get(), format!("{:?}", SmallIp::from(address))),
                (address, text.to_owned())
            );
        }
        assert_eq!(size_of::<(u64, SmallIp)>(), 24);
    }
}
