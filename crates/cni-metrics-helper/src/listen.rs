//! Where the program's own pages are served.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Listens on `address`. `0.0.0.0` means every address of the machine, those of IPv6 included: in an IPv6 cluster the
/// kubelet and Prometheus come by nothing else. Where the machine has no IPv6, IPv4 alone is what there is.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
        if let Ok(listener) = TcpListener::bind(every).await {
            return Ok(listener);
        }
    }
    TcpListener::bind(address).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn every_address_means_both_families() {
        let listener = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        // A machine without IPv6 has nobody who could come by it.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_is_only_that_address_and_a_taken_one_is_an_error() {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(bind(address).await.is_err());
        assert!(bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))).await.is_err());
    }
}
