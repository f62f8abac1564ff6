//! A way to a server that can be cut, as a network partition cuts it: nothing is refused, nothing comes through.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test stops where something is not as it must be"
)]

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Relay {
    /// Leads to `server`. Must be called within a runtime, which carries it.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, server, open.clone()));
            }
        });
        Self { address, is_open }
    }

    /// Nothing comes through from now on.
    pub fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// New connections come through again.
    pub fn mend(&self) {
        self.is_open.send_replace(true);
    }
}

/// Bytes that are on the way when it is cut are lost; the connection hangs until the way is mended, and is then reset.
async fn carry(mut near: TcpStream, server: SocketAddr, mut open: watch::Receiver<bool>) {
    if open.wait_for(|open| *open).await.is_err() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    let cut = async { drop(open.wait_for(|open| !*open).await) };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => return,
        () = cut => {}
    }
    let _mended = open.wait_for(|open| *open).await;
}
