//! Network namespaces: made by a test, entered by its thread, gone with it.

use std::fs::File;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The control plane's address in the namespace; all of 10.77.0.0/16 is local there.
pub const SERVER: &str = "10.77.0.1";
/// And its port.
pub const SERVER_PORT: u16 = 6443;

/// A named network namespace with loopback up. Dropping it deletes the name; the kernel frees it with its last process.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A namespace in which every address of `network` (such as `10.77.0.1/16`) is this machine.
    pub fn with_network(network: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_orphans();
        let name = format!("cmh-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        // On a loopback device a prefix makes all of its addresses local, as 127.0.0.0/8 is.
        namespace.ip(&["address", "add", network, "dev", "lo"]);
        namespace
    }

    /// Joins two namespaces by a pair of virtual cards with one address each, such as `10.79.0.1/30`.
    pub fn join(&self, own_address: &str, other: &Self, other_address: &str) {
        let (own, theirs) = ("cmh0", "cmh1");
        self.ip(&["link", "add", "name", own, "type", "veth", "peer", "name", theirs]);
        self.ip(&["link", "set", "dev", theirs, "netns", &other.name]);
        for (namespace, card, address) in [(self, own, own_address), (other, theirs, other_address)] {
            namespace.ip(&["address", "add", address, "dev", card]);
            namespace.ip(&["link", "set", "dev", card, "up"]);
        }
    }

    /// Moves the calling thread inside until the guard is dropped.
    pub fn enter(&self) -> Inside {
        let before = File::open("/proc/thread-self/ns/net").unwrap();
        let target = File::open(format!("/run/netns/{}", self.name)).unwrap();
        move_into_link_name_space(target.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Inside { before, not_send: PhantomData }
    }

    /// `ip` in this namespace.
    pub fn ip(&self, arguments: &[&str]) {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend(arguments);
        ip(&all);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// The calling thread is inside a namespace; dropping this takes it back.
#[derive(Debug)]
pub struct Inside {
    before: File,
    /// A namespace belongs to a thread, so its guard must not leave the thread.
    not_send: PhantomData<*const ()>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        move_into_link_name_space(self.before.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let _ = self.not_send;
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {said}", arguments.join(" "));
}

/// Namespaces of test processes that were killed before they could clean up.
fn remove_orphans() {
    let Ok(names) = std::fs::read_dir("/run/netns") else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name.strip_prefix("cmh-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("ip").args(["netns", "delete", &name]).status();
        }
    }
}
