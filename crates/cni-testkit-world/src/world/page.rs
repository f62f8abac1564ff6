//! A helper's own pages, asked over its admin listener.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::Helper;
use cni_testkit::wait;

const LIMIT: Duration = Duration::from_mins(1);

/// A page's body.
pub async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Waits until the helper's page has what is wanted.
pub async fn wait_page(helper: &Helper, path: &str, wanted: &str) -> String {
    let give_up = Instant::now() + LIMIT;
    loop {
        let page = get(helper.admin.unwrap(), path).await;
        if page.contains(wanted) {
            return page;
        }
        assert!(Instant::now() < give_up, "no {wanted:?} in {page}");
        wait::pause_async().await;
    }
}

/// Waits until the helper's own metrics say that it leads, or that it does not.
pub async fn wait_leader(helper: &Helper, leads: bool) {
    let give_up = Instant::now() + LIMIT;
    loop {
        let page = get(helper.admin.unwrap(), "/metrics").await;
        let line = page.lines().find(|line| line.starts_with("cni_metrics_helper_leader{cluster=\"")).unwrap();
        if line.ends_with(if leads { " 1" } else { " 0" }) {
            return;
        }
        assert!(Instant::now() < give_up, "{line}");
        wait::pause_async().await;
    }
}
