//! What ARCHITECTURE.md claims of the code as a whole, and that each of its invariants names tests that exist.

#![expect(clippy::unwrap_used, reason = "a test stops where something is missing")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files with a lock in code that runs: the index of pods, the queue of the log's writer, and the demo's captured lines.
const LOCKS: [&str; 3] = ["discover/index.rs", "logging/writer.rs", "demo/screen.rs"];

/// Crates without sockets, clock or randomness, which the pure ones may depend on.
const PURE: [&str; 5] = ["cni-types", "memchr", "serde", "serde_json", "thiserror"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

/// The files of a folder and all below it, with their text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

/// The names in a manifest's section.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let rest = text.split_once(&format!("[{section}]\n")).unwrap().1;
    let lines = rest.lines().take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split(['.', '=', ' ']).next()).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Everything that a package of the lock file reaches, tests included.
fn reached(from: &str) -> BTreeSet<String> {
    let lock = read("Cargo.lock");
    let packages: Vec<(&str, Vec<&str>)> = lock
        .split("[[package]]\n")
        .skip(1)
        .map(|package| {
            let quoted = |line: &'static str| package.lines().find_map(move |l| l.strip_prefix(line)).unwrap();
            let name = quoted("name = ").trim_matches('"');
            let list = package.split_once("dependencies = [\n").map_or("", |(_, rest)| rest);
            let list = list.lines().take_while(|line| *line != "]");
            (name, list.map(|line| line.trim_matches([' ', '"', ',']).split(' ').next().unwrap()).collect())
        })
        .collect();
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(name) = next.pop() {
        for (_, list) in packages.iter().filter(|(known, _)| *known == name) {
            next.extend(list.iter().filter(|dependency| seen.insert((**dependency).to_owned())));
        }
    }
    seen
}

#[test]
fn the_simulator_never_reaches_the_core_or_the_helper() {
    let reached = reached("cni-sim");
    assert!(reached.contains("ipamd-model") && reached.contains("tokio"), "the lock file was not understood");
    for forbidden in ["cni-metrics-core", "cni-metrics-helper"] {
        assert!(!reached.contains(forbidden), "cni-sim depends on {forbidden}");
    }
}

#[test]
fn the_core_and_the_model_depend_on_pure_crates_only() {
    for manifest in ["crates/cni-metrics-core/Cargo.toml", "crates/ipamd-model/Cargo.toml"] {
        let dependencies = dependencies(manifest, "dependencies");
        assert!(!dependencies.is_empty(), "{manifest} was not understood");
        let impure: Vec<_> = dependencies.iter().filter(|name| !PURE.contains(&name.as_str())).collect();
        assert!(impure.is_empty(), "{manifest}: {impure:?}");
    }
}

#[test]
fn there_is_one_tls_provider() {
    let lock = read("Cargo.lock");
    assert!(lock.contains("name = \"ring\"\n"));
    for second in ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"] {
        assert!(!lock.contains(&format!("name = \"{second}\"\n")), "{second} is in the tree");
    }
}

#[test]
fn locks_are_where_the_page_says_and_nowhere_else() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    for (path, text) in sources(&folder) {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if !is_test && ["Mutex<", "RwLock<", "Mutex::", "RwLock::"].iter().any(|lock| code.contains(lock)) {
            found.insert(path.strip_prefix(&folder).unwrap().display().to_string());
        }
    }
    assert!(found.contains("discover/index.rs"), "{found:?}");
    let others: Vec<_> = found.iter().filter(|path| !LOCKS.contains(&path.as_str())).collect();
    assert!(others.is_empty(), "a lock outside {LOCKS:?}: {others:?}");
}

/// Each invariant ends with `Held by` and names: of tests, of a file or module of tests, or of a step of the checks
/// (`bench/run …`).
#[test]
fn each_invariant_names_tests_that_exist() {
    let page = read("ARCHITECTURE.md");
    let section = page.split_once("## Invariants\n").unwrap().1.split("\n## ").next().unwrap().to_owned();
    let crates = ["crates", "bench"].map(|folder| repository().join(folder));
    let code: String = crates.iter().flat_map(|folder| sources(folder)).map(|(_, text)| text).collect();
    let invariants: Vec<&str> =
        section.split("\n\n").filter(|part| part.trim_start().starts_with(char::is_numeric)).collect();
    let invariants: Vec<String> = invariants.iter().flat_map(|part| numbered(part)).collect();
    assert!(invariants.len() >= 7, "{invariants:?}");
    for invariant in invariants {
        // Without these words there are no names, which is said below.
        let held = invariant.split_once("Held by").map_or("", |(_, held)| held);
        let names: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named: {invariant}");
        let helper = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in names.iter().filter(|name| !name.contains(' ')) {
            let is_there = if let Some(module) = name.strip_suffix("::tests") {
                let module = helper.join("src").join(module.replace("::", "/"));
                let inline = std::fs::read_to_string(module.with_extension("rs")).unwrap_or_default();
                module.join("tests.rs").is_file() || inline.contains("mod tests {")
            } else if name.contains('/') {
                helper.join(name).is_file()
            } else {
                code.contains(&format!("fn {name}(")) || code.contains(&format!("    {name}: \""))
            };
            assert!(is_there, "there is no test {name}, named by: {invariant}");
        }
    }
}

/// The items of a numbered list.
fn numbered(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        match items.last_mut().filter(|_| !line.starts_with(char::is_numeric)) {
            Some(item) => item.push_str(line),
            None => items.push(line.to_owned()),
        }
    }
    items
}
