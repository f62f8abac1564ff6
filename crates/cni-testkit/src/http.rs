//! The little HTTP that a test speaks itself: one plain GET.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::wait;

/// How long another process may take to show what is waited for.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// The body of a 200 answer, from the namespace that the calling thread is in.
pub fn get(address: &str, path: &str) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("http://{address}{path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(fault)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(fault)?;
    // HTTP/1.0: the answer ends with the connection, in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(fault)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(fault)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(status.to_owned()) }
}

/// Polls until `wanted` finds something in the body; what is waited for is another process' state, which sends no event.
///
/// # Panics
/// If that takes longer than `limit`.
pub fn poll<T>(address: &str, path: &str, limit: Duration, wanted: impl Fn(&str) -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        let answer = get(address, path);
        if let Some(found) = answer.as_deref().ok().and_then(&wanted) {
            return found;
        }
        assert!(Instant::now() < deadline, "http://{address}{path} never showed it; last: {answer:?}");
        wait::pause();
    }
}

/// Whether something accepts connections there.
pub fn can_connect(host: &str, port: u16) -> bool {
    TcpStream::connect((host, port)).is_ok()
}
