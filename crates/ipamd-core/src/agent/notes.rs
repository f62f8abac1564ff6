//! Annotations of pods with their addresses: written after the reply, and tried again. No request waits for one.
//!
//! Each holds for one pod by its UID, where that is known, and a release only for the address that it names: a DEL that comes
//! late takes nothing from a later pod of the name.

use std::net::IpAddr;

use super::careful::notes::Note;
use super::lane::Lane;
use super::memory::{Agent, PodKey};
use super::wake::Wake;
use crate::input::{KubeError, PodName};

/// More annotations than this do not wait: a node has fewer pods.
const MOST: usize = 1_024;
/// An annotation is tried this often ...
const TRIES: u8 = 16;
/// ... with this pause after the first try, milliseconds, that doubles ...
const PAUSE_MS: i64 = 1_000;
/// ... up to this.
const LONGEST_PAUSE_MS: i64 = 60_000;

impl<K: PodKey> Agent<K> {
    /// Writes or clears an annotation, after those before it; it takes the place of one of the same pod that still waits.
    pub(crate) fn note_address(&mut self, pod: PodName, uid: Box<str>, address: IpAddr, release: bool) {
        if !self.config.settings.annotate_pod_ip {
            return;
        }
        let Some(own) = &mut self.own else { return };
        own.notes.waiting.retain(|note| note.pod != pod);
        if own.notes.waiting.len() >= MOST {
            own.notes.waiting.pop_front();
            own.notes.lost = own.notes.lost.saturating_add(1);
        }
        own.notes.waiting.push_back(Note { pod, uid, address, release, failures: 0 });
        self.next_note();
    }

    fn next_note(&mut self) {
        let Some(own) = &mut self.own else { return };
        if own.notes.now.is_some() || own.notes.rest {
            return;
        }
        own.notes.now = own.notes.waiting.pop_front();
        if let Some(call) = own.notes.now.as_ref().map(Note::call) {
            self.lane(Lane::Notes).kube(call);
        }
    }

    /// The lane of annotations is woken.
    pub(crate) fn noted(&mut self, wake: Wake) {
        let Some(own) = &mut self.own else { return };
        if matches!(wake, Wake::Timer) {
            own.notes.rest = false;
            return self.next_note();
        }
        let Some(mut note) = own.notes.now.take() else { return };
        match wake.kube() {
            // The pod is gone, or the name is another one's.
            Ok(_) | Err(KubeError::NotFound) => return self.next_note(),
            Err(_) => note.failures = note.failures.saturating_add(1),
        }
        let pause_ms = (PAUSE_MS << note.failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE_MS);
        let replaced = own.notes.waiting.iter().any(|later| later.pod == note.pod);
        if note.failures >= TRIES {
            own.notes.lost = own.notes.lost.saturating_add(1);
        } else if !replaced {
            own.notes.waiting.push_back(note);
        }
        own.notes.rest = true;
        self.lane(Lane::Notes).sleep(pause_ms);
    }
}
