//! Deterministic damage to a page.

use crate::random::Random;

/// What hurts a reader of this format.
const SPLINTERS: [&[u8]; 24] = [
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b",",
    b"=",
    b" ",
    b"\t",
    b"#",
    b"NaN",
    b"-",
    b"+Inf",
    b"1e308",
    b"\xFF",
    b"\0",
    b"\\\"",
    b"awscni_",
    b"e",
    b"9999999999999999",
    b"api",
    b"quantile=\"0.99\"",
    b"0.5",
];

/// Applies one to four random edits: a splinter put in or over, a cut, lines swapped, doubled or dropped.
pub(crate) fn mutate(page: &[u8], random: &mut Random) -> Vec<u8> {
    let mut page = page.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(page.len() + 1);
        let splinter = SPLINTERS[random.below(SPLINTERS.len())];
        match random.below(7) {
            0 => drop(page.splice(at..at, splinter.iter().copied())),
            1 => {
                let end = (at + splinter.len()).min(page.len());
                drop(page.splice(at..end, splinter.iter().copied()));
            }
            2 => {
                let end = (at + 1 + random.below(30)).min(page.len());
                drop(page.drain(at..end));
            }
            edit => edit_lines(&mut page, edit, random),
        }
    }
    page
}

fn edit_lines(page: &mut Vec<u8>, edit: usize, random: &mut Random) {
    let mut lines: Vec<Vec<u8>> = page.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
    match edit {
        3 => lines.swap(a, b),
        4 => {
            let line = lines[a].clone();
            lines.insert(b, line);
        }
        5 => drop(lines.remove(a)),
        _ => {
            let line = lines[a].clone();
            lines.insert(a, line);
        }
    }
    *page = lines.concat();
}
