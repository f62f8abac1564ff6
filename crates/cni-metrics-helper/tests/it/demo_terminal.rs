//! `demo` in a terminal: what it shows fits, the terminal is as before when it ends, however it ends, and the pictures in
//! README.md are what the commands above them show.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cni_metrics_helper::demo::terminal::{Alternate, ENTER, LEAVE};
use cni_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Nothing here takes nearly as long, but on a busy machine it may take long.
const LIMIT: Duration = Duration::from_mins(3);

/// A program in a terminal of its own.
struct Terminal {
    child: std::process::Child,
    written: Arc<Mutex<Vec<u8>>>,
    reading: Option<JoinHandle<()>>,
}

impl Terminal {
    fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OwnedFd::from(File::options().read(true).write(true).open(name).unwrap());
        tcsetwinsize(&slave, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        command.stdin(Stdio::null()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = command.spawn().unwrap();
        // The command holds the program's side of the terminal; without it, reading ends when the program does.
        drop(command);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut master, kept) = (File::from(master), Arc::clone(&written));
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match master.read(&mut buffer) {
                    Ok(read) if read > 0 => {
                        kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..read]);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Linux says so once no program holds the other side any more.
                    Ok(_) | Err(_) => break,
                }
            }
        });
        Self { child, written, reading: Some(reading) }
    }

    fn demo(arguments: &[&str], variables: &[(&str, &str)], columns: u16, rows: u16) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
        command.arg("demo").args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("HOME", "/nonexistent").envs(variables.iter().copied());
        Self::start(command, columns, rows)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn wait_text(&self, wanted: &str) {
        wait::until(wanted, LIMIT, || self.text().contains(wanted));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; everything that it wrote.
    fn end(mut self) -> (String, ExitStatus) {
        let status = wait::some("the program's end", LIMIT, || self.child.try_wait().unwrap());
        self.reading.take().unwrap().join().unwrap();
        (self.text(), status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// The frames on the alternate screen, and what follows it.
fn frames(written: &str) -> (Vec<Vec<String>>, &str) {
    let (before, shown) = written.split_once(ENTER).expect("the alternate screen was not entered");
    assert_eq!(before, "");
    let (shown, after) = shown.split_once(LEAVE).unwrap_or((shown, ""));
    let frames = shown.split("\x1b[H").skip(1);
    // The terminal makes a carriage return of its own of each newline.
    let lines = |frame: &str| frame.split('\n').map(|line| plain(line.trim_end_matches('\r'))).collect();
    (frames.map(lines).collect(), after)
}

/// Without escape sequences.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |shown, part| {
        shown + part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest)
    })
}

#[test]
fn the_live_view_fits_the_terminal_and_leaves_the_scrollback_alone() {
    for (columns, rows) in [(80, 24), (120, 40), (200, 60), (40, 10)] {
        let rounds = ["--scenario", "subnet-exhaustion", "--rounds", "5", "--speed", "600"];
        let (written, status) = Terminal::demo(&rounds, &[], columns, rows).end();
        assert!(status.success(), "{written}");
        let (frames, after) = frames(&written);
        assert_eq!(frames.len(), 5, "{written:?}");
        for clears in ["\x1b[2J", "\x1b[3J"] {
            assert!(!written.contains(clears), "{columns}x{rows}");
        }
        for frame in &frames {
            // What clears the lines below the last one is no line.
            let lines = frame.len() - usize::from(frame.last().unwrap().is_empty());
            assert!(lines <= usize::from(rows), "{columns}x{rows}: {lines} lines: {frame:#?}");
            let widest = frame.iter().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(columns), "{columns}x{rows}: {widest} columns: {frame:#?}");
        }
        if columns < 80 {
            continue;
        }
        let last = frames.last().unwrap().join("\n");
        for part in cni_types::catalogue::CATALOGUE.iter().map(|row| row.name).chain([
            "round 5 of 5",
            "10 of 10 nodes in",
            "CloudWatch: ",
            "refused",
            "ip-10-0-",
            // The cause stays on the screen while it holds, however little room there is.
            " WARN ",
            "critical subnet-exhausted",
        ]) {
            assert!(last.contains(part), "{columns}x{rows}: {part} is not in\n{last}");
        }
        assert_eq!(
            last.contains(" INFO round 5: "),
            columns > 80,
            "lines of rounds have what the others leave: {last}"
        );
        assert!(!last.contains("compute.internal"), "{last}");
        assert!(after.contains("round 5 of 5"), "the last frame stays: {after}");
        assert!(after.trim_end().ends_with("largest difference between published and true: 0"), "{after}");
        let widest = after.lines().map(|line| plain(line).chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns).max(80), "{widest} columns: {after}");
    }
}

#[test]
fn colours_are_left_out_where_no_color_is_set() {
    let rounds = ["--nodes", "3", "--rounds", "2", "--speed", "600"];
    let coloured = |variables: &[(&str, &str)]| {
        let (written, status) = Terminal::demo(&rounds, variables, 80, 24).end();
        assert!(status.success(), "{written}");
        written.contains("\x1b[1m")
    };
    assert!(coloured(&[]) && coloured(&[("NO_COLOR", "")]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
}

#[test]
fn a_signal_ends_the_demo_and_the_terminal_is_as_before() {
    for (signal, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)] {
        let terminal = Terminal::demo(&["--nodes", "3", "--rounds", "100000"], &[], 80, 24);
        terminal.wait_text("round 1 of 100000");
        terminal.signal(signal);
        let (written, status) = terminal.end();
        assert_eq!(status.code(), Some(code), "{written}");
        assert!(written.ends_with(LEAVE), "{written:?}");
        assert_eq!(written.matches(LEAVE).count(), 1);
    }
}

/// Enters the alternate screen and panics on another thread, then returns an error.
#[child_program]
fn panics_on_the_alternate_screen() {
    let _screen = Alternate::enter().unwrap();
    let panicked = std::thread::spawn(|| panic!("something is wrong")).join();
    assert!(panicked.is_err());
}

#[test]
fn a_panic_leaves_the_alternate_screen_before_it_is_reported() {
    let command = cni_testkit::child_program("demo_terminal::panics_on_the_alternate_screen").unwrap();
    let (written, _) = Terminal::start(command, 80, 24).end();
    let (_, after) = written.split_once(ENTER).unwrap();
    let (shown, reported) = after.split_once(LEAVE).expect("the alternate screen was not left");
    assert!(!shown.contains("something is wrong") && reported.contains("something is wrong"), "{written:?}");
    assert_eq!(written.matches(LEAVE).count(), 1, "{written:?}");
}

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

/// The first block of text after a command in README.md.
fn picture(readme: &str, command: &str) -> String {
    let (_, rest) = readme.split_once(command).unwrap_or_else(|| panic!("README.md does not have {command}"));
    let (_, rest) = rest.split_once("\n```text\n").unwrap();
    rest.split_once("\n```\n").unwrap().0.to_owned()
}

/// Without what depends on the machine's speed.
fn without_times(picture: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        // What CloudWatch has so far depends on when it was last sent something.
        let units: &[&str] =
            if line.starts_with("CloudWatch: ") { &["requests,", "points"] } else { &["ms", "ms,", "requests"] };
        let is_time = |at: usize| words.get(at + 1).is_some_and(|unit| units.contains(unit));
        let shown = words.iter().enumerate().map(|(at, word)| if is_time(at) { "N" } else { word });
        shown.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    picture.lines().map(line).collect()
}

#[test]
fn the_table_in_the_readme_is_what_its_command_prints() {
    let readme = std::fs::read_to_string(README).unwrap();
    let picture = picture(&readme, "\n$ cargo run -- demo\n");
    let output = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    let output = { output }.arg("demo").env_clear().env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
    let printed = without_times(&String::from_utf8(output.stdout).unwrap());
    let shown = without_times(&picture);
    let mut rest = printed.as_slice();
    for line in &shown {
        if line.trim() == "…" {
            continue;
        }
        let at = rest.iter().position(|printed| printed == line);
        let at = at.unwrap_or_else(|| panic!("{line:?} is not printed, or not there:\n{}", printed.join("\n")));
        rest = &rest[at + 1..];
    }
    assert!(rest.is_empty(), "{rest:?} follows");
}

/// With `UPDATE_README=1` the picture is written anew.
#[test]
fn the_screen_in_the_readme_is_what_its_command_shows() {
    const COMMAND: &str = "cargo run -- demo --scenario subnet-exhaustion";
    let readme = std::fs::read_to_string(README).unwrap();
    let picture = picture(&readme, COMMAND);
    let arguments = ["--scenario", "subnet-exhaustion", "--speed", "300"];
    let terminal = Terminal::demo(&arguments, &[("NO_COLOR", "1")], 80, 24);
    terminal.wait_text("round 29 of 40");
    let written = terminal.text();
    let (frames, _) = frames(&written);
    let frame = frames.iter().find(|frame| frame[0].contains("round 28 of 40")).unwrap();
    let shown = frame.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
    let shown = shown.trim_end();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(README, readme.replace(&picture, shown)).unwrap();
        return;
    }
    assert_eq!(without_times(&picture), without_times(shown), "UPDATE_README=1 writes this to README.md:\n{shown}");
}
