//! A port that stays ours while nothing listens on it.
//!
//! A server that goes down and comes up again on the same port must not give the port back in between: any program on the
//! machine may get it for an outgoing connection, and then the server never comes back. So a second socket, bound and
//! never listening, holds the port. While nothing listens, connecting is refused by the kernel.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted: a scrape of thousands of nodes opens many at once.
const BACKLOG: u32 = 4096;

/// A port that is held until this is dropped. The kernel gives it only to a socket that asks for exactly this address with
/// `SO_REUSEADDR`, as this process and programs written in Go do.
#[derive(Debug)]
pub struct HeldPort {
    address: SocketAddr,
    _holder: TcpSocket,
}

impl HeldPort {
    /// Takes the address; port 0 takes a free one.
    pub fn take(address: SocketAddr) -> io::Result<Self> {
        let holder = bound(address)?;
        Ok(Self { address: holder.local_addr()?, _holder: holder })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens on it, even if connections of an earlier listener are still in `TIME_WAIT`. Must be called within a tokio
    /// runtime; one listener at a time.
    pub fn listen(&self) -> io::Result<TcpListener> {
        bound(self.address)?.listen(BACKLOG)
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::Ipv4Addr;

    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn between_two_listeners_the_port_is_closed_and_no_one_elses() {
        let port = HeldPort::take(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let plain = TcpSocket::new_v4().unwrap();
            plain.set_reuseaddr(false).unwrap();
            assert_eq!(plain.bind(port.address()).unwrap_err().kind(), ErrorKind::AddrInUse);
            let listener = port.listen().unwrap();
            let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(port.address()));
            assert!(accepted.is_ok() && connected.is_ok());
        }
    }
}
