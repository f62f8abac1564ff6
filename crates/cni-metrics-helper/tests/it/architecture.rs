//! What ARCHITECTURE.md claims of the code as a whole, and that each of its invariants names tests that exist.

mod modules;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Files with a lock in code that runs: the index of pods, the queue of the log's writer, and the demo's captured lines.
const LOCKS: [&str; 3] = [
    "cni-collector/src/discover/index.rs",
    "cni-runtime/src/logging/writer.rs",
    "cni-metrics-helper/src/demo/log_lines.rs",
];

/// Crates without sockets, clock or randomness, which the pure ones may depend on.
const PURE: [&str; 6] = ["cni-types", "ipamd-core", "memchr", "serde", "serde_json", "thiserror"];

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

/// What a crate can be kept from: kinds of work, and the crates of others that do it. What is in none of these is pure.
const KINDS: [(&str, &[&str]); 7] = [
    ("tokio", &["tokio", "tokio-util", "tokio-rustls", "futures", "tracing"]),
    ("HTTP", &["hyper", "hyper-util", "hyper-rustls", "axum", "tower", "http-body", "http-body-util", "rustls"]),
    ("Kubernetes", &["kube", "k8s-openapi"]),
    ("AWS", &["aws-"]),
    ("terminal", &["clap", "comfy-table"]),
    ("process", &["rustix", "signal-hook", "tracing-subscriber"]),
    ("random", &["fastrand", "rand"]),
];

/// The workspace's packages with their direct dependencies, build and test ones left out: (ours, others').
fn packages() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(repository());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let packages = list(&metadata["packages"]).into_iter().map(|package| {
        let normal = list(&package["dependencies"]).into_iter().filter(|dependency| dependency["kind"].is_null());
        let (ours, others): (Vec<_>, Vec<_>) = normal.partition(|dependency| !dependency["path"].is_null());
        let names = |all: Vec<Value>| all.iter().map(|dependency| text(&dependency["name"])).collect();
        (text(&package["name"]), (names(ours), names(others)))
    });
    packages.collect()
}

/// The page's table of crates: name → (our crates, kinds of work).
fn table() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let page = read("ARCHITECTURE.md");
    let section = page.split_once("## Crates").unwrap().1.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let names = |cell: &str| {
            let names = cell.split(',').map(|name| name.trim().trim_matches('`'));
            names.filter(|name| !["", "–"].contains(name)).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        (cells[0].trim_matches('`').to_owned(), (names(cells[1]), names(cells[2])))
    });
    rows.collect()
}

#[test]
fn each_crate_uses_what_the_page_permits_it() {
    let (packages, table) = (packages(), table());
    assert_eq!(packages.keys().collect::<Vec<_>>(), table.keys().collect::<Vec<_>>(), "crates, and rows of the table");
    for (name, (ours, others)) in &packages {
        let (permitted, kinds) = &table[name];
        assert_eq!(ours, permitted, "{name}: our crates that it uses, and those that the page permits");
        let is_of = |list: &[&str], other: &str| {
            list.iter().any(|name| *name == other || name.ends_with('-') && other.starts_with(name))
        };
        let used: BTreeSet<String> = KINDS
            .iter()
            .filter(|(_, list)| others.iter().any(|other| is_of(list, other)))
            .map(|(kind, _)| (*kind).to_owned())
            .collect();
        assert_eq!(&used, kinds, "{name}: kinds of work that it does, and those that the page permits: {others:?}");
    }
}

/// What a package needs, directly or not, to be built as a dependency: tests left out.
fn reached(from: &str) -> BTreeSet<String> {
    let packages = packages();
    let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = next.pop() {
        next.extend(packages[&name].0.iter().filter(|ours| seen.insert((*ours).clone())).cloned());
    }
    seen
}

#[test]
fn the_simulator_never_reaches_the_core_or_the_helper() {
    let reached = reached("cni-sim");
    assert!(reached.contains("ipamd-model"), "{reached:?}");
    let model = ["ipamd-model", "ipamd-core", "cni-types"];
    let others: Vec<_> = reached.iter().filter(|name| !model.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "cni-sim depends on {others:?}");
}

/// A build of the whole workspace unites the features of what all tests use: one that reached the helper would have the
/// tests of every crate built again after each change of it.
#[test]
fn what_all_tests_use_does_not_reach_the_helper() {
    let reached = reached("cni-testkit");
    assert!(reached.contains("cni-types"), "{reached:?}");
    let changed_often = ["cni-collector", "cni-metrics-helper", "cni-publish", "cni-sim"];
    let found: Vec<_> = reached.iter().filter(|name| changed_often.contains(&name.as_str())).collect();
    assert!(found.is_empty(), "cni-testkit depends on {found:?}");
}

#[test]
fn the_cores_and_the_model_depend_on_pure_crates_only() {
    let packages = packages();
    for name in ["cni-metrics-core", "ipamd-core", "ipamd-model"] {
        let (ours, others) = &packages[name];
        assert!(!others.is_empty(), "{name} was not understood");
        let impure: Vec<_> = ours.iter().chain(others).filter(|name| !PURE.contains(&name.as_str())).collect();
        assert!(impure.is_empty(), "{name}: {impure:?}");
    }
}

#[test]
fn the_facts_need_the_standard_library_only() {
    let (ours, others) = &packages()["cni-types"];
    assert!(ours.is_empty() && others.is_empty(), "{ours:?} {others:?}");
    // What is concluded needs no more than the facts.
    let (ours, others) = &packages()["cni-insight"];
    assert!(ours.iter().eq(["cni-types"]) && others.is_empty(), "{ours:?} {others:?}");
}

/// Their own lists are what the catalogue is compared with.
#[test]
fn the_simulator_and_the_model_do_not_use_the_catalogue() {
    for name in ["cni-sim", "ipamd-core", "ipamd-model"] {
        let sources = sources(&source_folder(name));
        assert!(sources.len() > 10, "{name} was not found");
        for (path, text) in sources {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let uses: Vec<&str> = code.filter(|line| line.contains("catalogue")).collect();
            assert!(uses.is_empty(), "{}: {uses:?}", path.display());
        }
    }
}

/// Where a package's code is.
fn source_folder(package: &str) -> PathBuf {
    let folders = [format!("crates/{package}"), package.trim_start_matches("cni-").to_owned()];
    let found = folders.iter().map(|folder| repository().join(folder).join("src")).find(|path| path.is_dir());
    found.unwrap_or_else(|| panic!("no folder of {package}"))
}

/// The files below `crates/` whose code, tests left out, has one of these texts. The simulated cluster, the bench and
/// what only tests use are no part of the helper.
fn helper_files_with(texts: &[&str]) -> BTreeSet<String> {
    let folder = repository().join("crates");
    let crates = packages().into_keys().filter(|name| {
        !["cni-sim", "cni-bench", "cni-testkit", "cni-testkit-macros", "cni-testkit-world"].contains(&name.as_str())
    });
    let mut found = BTreeSet::new();
    for (path, text) in crates.flat_map(|name| sources(&folder.join(name).join("src"))) {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if !is_test && texts.iter().any(|text| code.contains(text)) {
            found.insert(path.strip_prefix(&folder).unwrap().display().to_string());
        }
    }
    found
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut found = Vec::new();
    for (name, _) in packages() {
        let source = source_folder(&name);
        let programs = std::fs::read_dir(source.join("bin")).into_iter().flatten().map(|entry| entry.unwrap().path());
        let roots = [source.join("lib.rs"), source.join("main.rs")].into_iter().chain(programs);
        for root in roots.filter(|root| root.extension().is_some_and(|extension| extension == "rs") && root.is_file()) {
            found.extend(modules::circles(&root).into_iter().map(|circle| (name.clone(), circle)));
        }
    }
    assert!(found.is_empty(), "files that use each other: {found:#?}");
}

/// Every file of Rust below `crates` and `bench`, with its path from the root of the checkout.
fn all_sources() -> Vec<(String, String)> {
    let folders = ["crates", "bench"].map(|folder| repository().join(folder));
    let all = folders.iter().flat_map(|folder| sources(folder));
    all.map(|(path, text)| (path.strip_prefix(repository()).unwrap().display().to_string(), text)).collect()
}

#[test]
fn a_crate_has_one_program_of_integration_tests() {
    let mut programs = 0;
    for (name, _) in packages() {
        let folder = source_folder(&name).with_file_name("tests");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let found: Vec<PathBuf> = entries
            .filter(|path| {
                path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file()
            })
            .collect();
        if found.is_empty() {
            continue;
        }
        assert_eq!(found, [folder.join("it")], "{name}: cargo makes a program of each");
        // With the usual harness there would be no tests in it.
        let manifest = std::fs::read_to_string(folder.with_file_name("Cargo.toml")).unwrap();
        assert!(manifest.contains("[[test]]\nname = \"it\"\nharness = false\n"), "{name}");
        programs += 1;
    }
    assert!(programs >= 6, "{programs}");
}

#[test]
fn a_module_is_where_its_name_says() {
    let with_path = all_sources().into_iter().filter(|(_, text)| {
        text.lines().any(|line| line.trim_start().starts_with("#[path") || line.trim_start().starts_with("#![path"))
    });
    assert_eq!(with_path.map(|(path, _)| path).collect::<Vec<_>>(), Vec::<String>::new());
}

/// Where a line sleeps: not by the clock of a simulated cluster, and not by a name that has `sleep` as a part.
fn sleeps(line: &str) -> bool {
    line.match_indices("sleep").any(|(at, word)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let is_part = before.ends_with(|mark: char| mark.is_alphanumeric() || mark == '_');
        let is_call = after.starts_with('(') || after.starts_with("_until(");
        is_call && !is_part && !before.ends_with("clock.") && !before.ends_with("fn ")
    })
}

#[test]
fn tests_wait_for_conditions_and_never_for_a_fixed_time() {
    for line in ["thread::sleep(TIME);", "    sleep(TIME).await;", "tokio::time::sleep_until(then).await"] {
        assert!(sleeps(line), "{line}");
    }
    for line in ["wait::sleep_as_input(TIME);", "bench.clock.sleep(DAY).await;", "fn sleep(&self)", ".sleep_impl(x)"] {
        assert!(!sleeps(line), "{line}");
    }
    let is_for_tests = |path: &str| path.contains("/tests/it/") || path.starts_with("crates/cni-testkit");
    let mut files = 0;
    for (path, text) in all_sources().into_iter().filter(|(path, _)| is_for_tests(path)) {
        files += 1;
        if ["crates/cni-testkit/src/wait.rs", file!()].contains(&path.as_str()) {
            continue;
        }
        let found: Vec<&str> = text.lines().filter(|line| sleeps(line)).collect();
        assert!(found.is_empty(), "{path}: {found:?}: use cni_testkit::wait");
    }
    assert!(files >= 80, "{files}");
}

#[test]
fn a_type_name_has_one_meaning_in_its_crate() {
    for (name, _) in packages() {
        let source = source_folder(&name);
        let doubled = names::doubled(&sources(&source), &source);
        assert!(doubled.is_empty(), "{name}: {doubled:#?}");
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
    let found = helper_files_with(&["Mutex<", "RwLock<", "Mutex::", "RwLock::"]);
    assert!(found.contains(LOCKS[0]), "{found:?}");
    let others: Vec<_> = found.iter().filter(|path| !LOCKS.contains(&path.as_str())).collect();
    assert!(others.is_empty(), "a lock outside {LOCKS:?}: {others:?}");
}

#[test]
fn json_is_printed_in_one_place_which_puts_the_schema_first() {
    let folder = repository().join("crates/cni-metrics-helper/src");
    let prints = |text: &str| {
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        ["serde_json::to_string", "serde_json::to_writer", "serde_json::to_vec", "json!"]
            .iter()
            .any(|call| code.contains(call))
    };
    let printing = sources(&folder).into_iter().filter(|(_, text)| prints(text)).map(|(path, _)| path);
    let printing: Vec<_> = printing.map(|path| path.strip_prefix(&folder).unwrap().display().to_string()).collect();
    assert_eq!(printing, ["view/schema.rs"]);
}

#[test]
fn the_environment_is_read_by_the_settings_only() {
    let found = helper_files_with(&["env::var", "env::{"]);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["cni-metrics-helper/src/config/environment.rs"]);
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
                let module = format!("src/{}", module.replace("::", "/"));
                packages().into_keys().any(|name| {
                    let module = repository().join("crates").join(name).join(&module);
                    let inline = std::fs::read_to_string(module.with_extension("rs")).unwrap_or_default();
                    module.join("tests.rs").is_file() || inline.contains("mod tests {")
                })
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
