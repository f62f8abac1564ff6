//! A stand-in for one node's agent: something real that answers on tcp/61678, well or badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;

use super::page::Page;
use crate::wait;

/// The port that agents listen on.
pub const AGENT_PORT: u16 = 61678;
/// How long a request that must come may take on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How the node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The page.
    Page,
    /// The page, compressed; asked for or not, as a broken middle box does.
    Gzip,
    /// The page, in pieces over this long.
    Slow(Duration),
    /// The connection is taken, the request read, and nothing is ever said.
    Hang,
    /// 200 with bytes that are no page.
    Garbage,
    /// 200 with somebody else's login page.
    Html,
    /// Nothing listens.
    Refuse,
}

/// One node's agent, served by threads born in the namespace of the thread that started it.
#[derive(Debug)]
pub struct StandIn {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Counts the changes of mode; a hanging request ends when it moves on.
    era: u64,
    stopped: bool,
    page: Page,
    requests: u64,
    /// Whether the last request came through the API server's proxy, which says so in its headers.
    proxied: bool,
}

impl StandIn {
    /// Listens on this address, on the agents' port, and answers with the page.
    pub fn start(ip: &str, page: Page) -> Self {
        let state = State { mode: Mode::Page, era: 0, stopped: false, page, requests: 0, proxied: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let stand_in = Self { address: format!("{ip}:{AGENT_PORT}"), shared };
        stand_in.listen();
        stand_in
    }

    /// Changes the way it answers, for connections that are open already, too. Call it from inside the namespace.
    pub fn set_mode(&self, mode: Mode) {
        let before = {
            let mut state = self.shared.state.lock().unwrap();
            state.era += 1;
            std::mem::replace(&mut state.mode, mode)
        };
        self.shared.changed.notify_all();
        match (before, mode) {
            (Mode::Refuse, Mode::Refuse) => {}
            (Mode::Refuse, _) => self.listen(),
            (_, Mode::Refuse) => self.wake_listener(),
            _ => {}
        }
    }

    /// Changes the page from the next request on.
    pub fn edit_page(&self, edit: impl FnOnce(&mut Page)) {
        edit(&mut self.shared.state.lock().unwrap().page);
    }

    /// The page as it is now.
    pub fn page(&self) -> Page {
        self.shared.state.lock().unwrap().page.clone()
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.state.lock().unwrap().requests
    }

    /// Waits until this number of requests has come.
    pub fn wait_requests(&self, number: u64) {
        let state = self.shared.state.lock().unwrap();
        let waiting = |state: &mut State| state.requests < number;
        let (state, _) = self.shared.changed.wait_timeout_while(state, TIMEOUT, waiting).unwrap();
        assert!(state.requests >= number, "{} of {number} requests came to {}", state.requests, self.address);
    }

    /// Whether the last request came through the API server.
    pub fn proxied(&self) -> bool {
        self.shared.state.lock().unwrap().proxied
    }

    fn listen(&self) {
        let listener = TcpListener::bind(&self.address).unwrap_or_else(|error| panic!("{}: {error}", self.address));
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for connection in listener.incoming() {
                if shared.refuses() {
                    return;
                }
                let shared = Arc::clone(&shared);
                // A peer that goes away in the middle is its own affair.
                thread::spawn(move || connection.and_then(|stream| serve(&stream, &shared)));
            }
        });
    }

    /// The listener looks at the mode when a connection arrives, so one is made, and waited for until it is closed.
    fn wake_listener(&self) {
        if let Ok(mut stream) = TcpStream::connect(&self.address) {
            let _ = stream.read(&mut [0]);
        }
        wait::until("the listener is gone", TIMEOUT, || TcpStream::connect(&self.address).is_err());
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().stopped = true;
        self.shared.changed.notify_all();
        let _ = TcpStream::connect(&self.address);
    }
}

impl Shared {
    fn refuses(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.stopped || state.mode == Mode::Refuse
    }

    /// Counts a request and gives what to do with it.
    fn take_request(&self, proxied: bool) -> (Mode, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        state.proxied = proxied;
        self.changed.notify_all();
        (state.mode, state.page.render().into_bytes())
    }

    fn hang(&self) {
        let state = self.state.lock().unwrap();
        let era = state.era;
        drop(self.changed.wait_while(state, |state| state.era == era && !state.stopped).unwrap());
    }
}

/// Answers request after request on one connection.
fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream);
    loop {
        let Some(request) = read_request(&mut requests)? else { return Ok(()) };
        if shared.refuses() {
            return Ok(());
        }
        let (mode, page) = shared.take_request(request.proxied);
        match mode {
            Mode::Page => answer(stream, "", &page)?,
            Mode::Gzip => {
                let mut packed = Vec::new();
                GzEncoder::new(page.as_slice(), Compression::fast()).read_to_end(&mut packed)?;
                answer(stream, "Content-Encoding: gzip\r\n", &packed)?;
            }
            Mode::Slow(length) => slowly(stream, &page, length)?,
            Mode::Garbage => answer(stream, "", &[0, 159, 146, 150, b'\n', 0xff, 0xfe, b'{', b'\n'])?,
            Mode::Html => answer(stream, "", b"<!doctype html>\n<html><body>Please log in</body></html>\n")?,
            Mode::Hang => {
                shared.hang();
                return Ok(());
            }
            Mode::Refuse => return Ok(()),
        }
        if request.last {
            return Ok(());
        }
    }
}

/// What of a request's head matters here.
#[derive(Debug, Clone, Copy, Default)]
struct Request {
    /// A proxy forwarded it.
    proxied: bool,
    /// Its sender wants the connection to end with the answer.
    last: bool,
}

/// Reads a request's head; `None` at the end of the connection.
fn read_request(requests: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut request = Request::default();
    let mut line = String::new();
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            return Ok(Some(request));
        }
        request.proxied |= header.starts_with("x-forwarded-");
        request.last |= header == "connection: close" || header.ends_with(" http/1.0");
    }
}

fn answer(mut stream: &TcpStream, headers: &str, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(&head(headers, body.len()))?;
    stream.write_all(body)
}

fn slowly(mut stream: &TcpStream, body: &[u8], length: Duration) -> std::io::Result<()> {
    stream.write_all(&head("", body.len()))?;
    for piece in body.chunks(body.len().div_ceil(10)) {
        wait::sleep_as_input(length / 10);
        stream.write_all(piece)?;
    }
    Ok(())
}

fn head(headers: &str, length: usize) -> Vec<u8> {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{headers}Content-Length: {length}\r\n\r\n").into_bytes()
}
