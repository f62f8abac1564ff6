//! The error codes that the original's source names, against the table of what codes mean.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use cni_testkit::needs;
use cni_types::ec2::KNOWN_CODES;

/// The folder of the original's sources, as Go keeps it for `tools/godiff`.
fn sources() -> PathBuf {
    let go = needs::program("go", "install Go");
    let output = Command::new(go)
        .args(["list", "-m", "-f", "{{.Dir}}", "github.com/aws/amazon-vpc-cni-k8s"])
        .current_dir(needs::repository().join("tools/godiff"))
        .envs([("GOTOOLCHAIN", "local"), ("GOWORK", "off"), ("GOFLAGS", "-mod=readonly"), ("GOPROXY", "off")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The texts of the files of a package, without its tests.
fn package(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_source = |path: &PathBuf| {
        let is_test = path.file_stem().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with("_test"));
        path.extension().is_some_and(|extension| extension == "go") && !is_test
    };
    files.filter(is_source).map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The texts between quotes of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

/// Codes that lines compare an error's code with, or give an error: quoted beside it, by the name of a constant, or in the cases of
/// a switch over it.
fn codes(texts: &[String]) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let constant = |name: &str| -> Option<String> {
        let lines = texts.iter().flat_map(|text| text.lines());
        let values =
            lines.filter_map(|line| line.trim().strip_prefix(name)?.trim().strip_prefix('=')?.trim().strip_prefix('"'));
        values.filter_map(|rest| rest.split_once('"')).map(|(value, _)| value.to_owned()).next()
    };
    for text in texts {
        let mut is_in_switch = false;
        for line in text.lines().map(str::trim) {
            is_in_switch = match line {
                line if line.starts_with("switch ") => line.contains("ErrorCode()"),
                "}" => false,
                _ => is_in_switch,
            };
            let is_compared = line.contains("ErrorCode() ==") || line.contains("ErrorCode() !=");
            if !(is_compared || is_in_switch || line.starts_with("code: ")) {
                continue;
            }
            codes.extend(quoted(line).map(str::to_owned));
            let words = line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            let is_constant = |word: &&str| word.contains('_') && !word.bytes().any(|byte| byte.is_ascii_lowercase());
            codes.extend(words.filter(is_constant).filter_map(constant));
        }
    }
    codes
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn the_table_has_the_codes_that_the_original_handles() {
    let folder = sources();
    let texts: Vec<String> =
        ["pkg/ipamd", "pkg/awsutils"].iter().flat_map(|package_folder| package(&folder.join(package_folder))).collect();
    let handled: BTreeSet<String> =
        KNOWN_CODES.iter().filter(|known| known.is_handled).map(|known| known.code.to_owned()).collect();
    assert_eq!(codes(&texts), handled);
}

#[test]
fn codes_are_found_beside_comparisons_in_switches_and_as_constants() {
    let text = "\tFIRST_CODE = \"First\"\n\tif err.ErrorCode() == FIRST_CODE || err.ErrorCode() == \"Second\" {\n\tlog(\"Other\")\n\t}\n\
                \tswitch err.ErrorCode() {\n\tcase \"Third\",\n\t\t\"Fourth.Part\":\n\t\treturn true\n\t}\n\tlog(\"Another\")\n\tcode:  \"Fifth\",\n\
                \tswitch kind {\n\tcase \"no code\":\n\t}\n";
    let expected = ["Fifth", "First", "Fourth.Part", "Second", "Third"].map(str::to_owned);
    assert_eq!(codes(&[text.to_owned()]), BTreeSet::from(expected));
}
