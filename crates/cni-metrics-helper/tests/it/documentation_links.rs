//! What the pages of the documentation refer to: each link leads to a file and a heading that exist, each path of a source
//! file exists, the index links every page, and the threats of SECURITY.md name tests that exist.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files with this ending directly in a folder.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect()
}

/// All pages of the documentation.
fn pages() -> Vec<PathBuf> {
    let root = repository();
    let folders = ["", "docs", "docs/adr", "bench", "charts/cni-metrics-helper"];
    folders.iter().flat_map(|folder| files(&root.join(folder), "md")).collect()
}

/// A page without its code blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let prose = prose(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let marked = page.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    headings.map(|line| anchor(line.trim_start_matches('#'))).chain(marked.map(str::to_owned)).collect()
}

/// Targets of the links to other files and headings.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).map(str::to_owned).collect()
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
        path
    })
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { normal(&page.parent().unwrap().join(file)) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                assert!(anchors(&read(&target)).contains(heading), "{}: no such heading: {link}", page.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 100, "{seen} links found");
}

/// Paths such as `crates/cni-sim/scenarios/`; those with a placeholder (`NAME`, `*`, `…`) are no single file.
#[test]
fn every_path_of_a_source_that_is_named_exists() {
    let root = repository();
    let mut seen = 0;
    for page in pages() {
        let text = prose(&read(&page));
        for path in text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("crates/")) {
            if path.contains(|c: char| c.is_ascii_uppercase() || c.is_whitespace() || matches!(c, '*' | '…' | '{')) {
                continue;
            }
            assert!(root.join(path).exists(), "{}: there is no {path}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} paths found");
}

#[test]
fn the_index_links_every_page() {
    let docs = repository().join("docs");
    let index = docs.join("README.md");
    let text = read(&index);
    let linked: BTreeSet<PathBuf> =
        links(&text).iter().map(|link| normal(&docs.join(link.split('#').next().unwrap()))).collect();
    for page in files(&docs, "md").into_iter().chain(files(&docs.join("adr"), "md")).filter(|page| *page != index) {
        assert!(linked.contains(&page), "docs/README.md does not link {}", page.display());
    }
}

/// The texts of all sources in a folder and below.
fn code(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir() && !path.ends_with("target"));
    let below: String = folders.map(|folder| code(&folder)).collect();
    files(folder, "rs").iter().map(|file| read(file)).chain([below]).collect()
}

#[test]
fn every_threat_names_tests_that_exist() {
    let root = repository();
    let page = read(&root.join("SECURITY.md"));
    let (_, section) = page.split_once("## Threats\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 20, "{} threats found", rows.len());
    let code = code(&root.join("crates"));
    for row in rows {
        let held = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named: {row}");
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "there is no test {name}: {row}");
        }
    }
}
