//! What some tests need from the machine besides Rust and a C compiler.
//!
//! Such a test carries `#[ignore = "needs …: run .ci/run"]`: plain `cargo test` reports it as ignored, with that reason,
//! and never as passed. `.ci/run` installs what they need and runs them with `--include-ignored`; where a need is missing
//! then, the test fails and says what is missing and what brings it.

pub mod promtool;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a program comes from that `tools/envtest/build.sh` builds.
pub const BUILT: &str = "tools/envtest/build.sh builds it";

/// A program by its name or its path. Those built for this repository are found before the system's; Debian keeps some
/// in folders that are not on every user's `PATH`.
///
/// # Panics
/// If there is none; `remedy` says what brings it.
pub fn program(name: impl AsRef<Path>, remedy: &str) -> PathBuf {
    let name = name.as_ref();
    let built =
        std::env::var_os("KUBEBUILDER_ASSETS").map_or_else(|| repository().join(".cache/envtest/bin"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    // An absolute path stays itself when it is joined to a folder.
    let found = std::iter::once(built).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file());
    assert!(found.is_some(), "missing: {}; {remedy}, and .ci/run does all of that", name.display());
    found.unwrap_or_default()
}

/// The program that runs the original ipamd in virtual time.
///
/// # Panics
/// If it was not built.
pub fn original() -> PathBuf {
    let folder = std::env::var_os("GODIFF_BIN").map_or_else(|| repository().join(".cache/godiff/bin"), PathBuf::from);
    let program = folder.join("godiff");
    assert!(
        program.is_file(),
        "missing: {}; tools/godiff/build.sh builds it with Go, and .ci/run does that",
        program.display()
    );
    program
}

/// The root of the checkout.
pub fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

/// Root's rights.
///
/// # Panics
/// Without them; `why` says what they are needed for.
pub fn root(why: &str) {
    let user = std::fs::metadata("/proc/self").map(|own| own.uid());
    assert!(matches!(user, Ok(0)), "missing: root, because {why}; run .ci/run as root");
}
