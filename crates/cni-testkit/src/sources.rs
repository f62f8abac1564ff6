//! The sources of a test program against the tests that are registered: none is forgotten.

use std::path::{Path, PathBuf};

/// Attributes of other harnesses: here the compiler drops what they mark, without a word.
const FOREIGN: [&str; 3] = ["#[tokio::test", "#[core::prelude::v1::test", "#[rstest"];

/// Compares the files below a program's folder with the names of its tests. `Err` names what is wrong.
pub(crate) fn check(folder: &Path, registered: &[&str]) -> Result<(), String> {
    let mut problems = Vec::new();
    for path in files(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = path.strip_prefix(folder).unwrap_or(&path);
        let module = module_of(file);
        for (number, name) in written(&text) {
            let is_known = |known: &&str| {
                let within = known.strip_prefix(&*module).map(|rest| rest.trim_start_matches("::"));
                within.is_some_and(|within| within == name || within.ends_with(&format!("::{name}")))
            };
            if !registered.iter().any(is_known) {
                problems.push(format!("{}:{number}: {name} is not registered: is the file a module?", file.display()));
            }
        }
        for (number, line) in lines(&text).filter(|(_, line)| FOREIGN.iter().any(|other| line.starts_with(other))) {
            problems.push(format!("{}:{number}: {line} is never run here: write #[test]", file.display()));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// `a/b.rs` is `a::b`.
fn module_of(file: &Path) -> String {
    let parts: Vec<_> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts == ["main"] { String::new() } else { parts.join("::") }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()))
}

/// The functions that are marked as tests, with their lines. Names that a macro is given are not among them.
fn written(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut is_marked) = (Vec::new(), false);
    for (number, line) in lines(text) {
        is_marked |= line.starts_with("#[test]") || line.starts_with("#[test(");
        let after =
            line.split_once("fn ").filter(|(before, _)| before.split(' ').all(|word| "pub async".contains(word)));
        if let Some((_, after)) = after
            && std::mem::take(&mut is_marked)
        {
            let name = after.split(['(', '<']).next().unwrap_or_default();
            found.extend((!name.starts_with('$')).then_some((number, name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> crate::TempDir {
        let folder = crate::temporary_folder();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_test_of_a_file_that_no_module_names_is_found() {
        let folder = folder(&[
            ("main.rs", "#[test]\nfn top() {}"),
            (
                "a.rs",
                "proptest! {\n    #[test]\n    fn one(x in 0..3) {}\n}\nmod inner {\n    #[test]\n    fn two() {}\n}",
            ),
            ("a/b.rs", "#[test]\n#[ignore = \"x\"]\nasync fn three() {}\nfn helper() {}\n#[test]\nfn $macros() {}"),
        ]);
        let all = ["a::b::three", "a::inner::two", "a::one", "top"];
        assert_eq!(check(folder.path(), &all), Ok(()));
        let problem = check(folder.path(), &["a::three", "a::inner::two", "a::one", "top"]).unwrap_err();
        assert_eq!(problem, "a/b.rs:3: three is not registered: is the file a module?");
    }

    #[test]
    fn an_attribute_that_the_compiler_drops_is_refused() {
        let folder = folder(&[("a.rs", "#[tokio::test(start_paused = true)]\nasync fn gone() {}")]);
        let problem = check(folder.path(), &[]).unwrap_err();
        assert!(problem.contains("a.rs:1") && problem.contains("write #[test]"), "{problem}");
    }
}
