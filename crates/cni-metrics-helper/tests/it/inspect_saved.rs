//! `inspect` on what people have at hand: support bundles, folders, compressed and UTF-16 files, several pages in one file,
//! a Prometheus' `/federate`, the upstream helper's log, pages that were cut by hand.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;

/// A page of an agent of v1.18.6.
const PAGE: &str = include_str!("../../../cni-metrics-core/tests/data/agent_v1.18.6.prom");

/// Addresses in use and attached on that page.
const ASSIGNED: u64 = 11;
const HELD: u64 = 18;

fn inspect(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    command.args(["inspect", "-o", "json"]).args(arguments).env_clear().output().unwrap()
}

/// What is read of one file with this content, and what is said of it.
fn read(name: &str, content: &[u8]) -> (serde_json::Value, String, i32) {
    let folder = cni_testkit::temporary_folder();
    std::fs::write(folder.path().join(name), content).unwrap();
    outcome(&inspect(&[&folder.path().join(name)]), folder.path())
}

/// The object, the messages without the folder's name, and the exit code.
fn outcome(output: &Output, folder: &Path) -> (serde_json::Value, String, i32) {
    let strip = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap().replace(&format!("{}/", folder.display()), "");
    let json = serde_json::from_str(&strip(&output.stdout)).unwrap();
    (json, strip(&output.stderr), output.status.code().unwrap())
}

fn names(json: &serde_json::Value) -> Vec<&str> {
    json["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect()
}

/// Holds that so many nodes with the page of [`PAGE`] were read, and each adds to the sums.
fn assert_reads(json: &serde_json::Value, pages: u64) {
    assert_eq!(json["coverage"]["scraped"], pages, "{json}");
    let metrics = &json["metrics"];
    assert_eq!(metrics["assignIPAddresses"], ASSIGNED * pages);
    assert_eq!(metrics["totalIPAddresses"], HELD * pages);
    assert_eq!(metrics["noAvailableIPAddresses"], 9 * pages);
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive's entry, as `tar` writes it; `claimed` is the size in its header.
fn entry(name: &str, kind: u8, content: &[u8], claimed: u64) -> Vec<u8> {
    let mut block = [0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..135].copy_from_slice(format!("{claimed:011o}").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut whole = block.to_vec();
    whole.extend_from_slice(content);
    whole.resize(whole.len().next_multiple_of(512), 0);
    whole
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name, b'0', content, content.len() as u64)
}

fn bundle(entries: &[Vec<u8>]) -> Vec<u8> {
    gzip(&[entries.concat(), vec![0; 1024]].concat())
}

#[test]
fn a_support_bundle_is_read_and_each_of_its_faults_costs_itself_only() {
    let archive = bundle(&[
        entry("var/log/aws-routed-eni/", b'5', b"", 0),
        file("var/log/aws-routed-eni/eni.out", b"{\"0\": {}}\n"),
        file("var/log/aws-routed-eni/metrics.out", PAGE.as_bytes()),
        file("var/log/aws-routed-eni/iptables.out", b"Chain INPUT\n"),
        file("other/metrics.json", b""),
        file("other/page.gz", &gzip(PAGE.as_bytes())),
        file("other/bad.gz", &[&gzip(PAGE.as_bytes())[..200], &[0xFF; 50]].concat()),
        file("third/metrics.json", format!("{PAGE}awscni_ip_max three\n").as_bytes()),
    ]);
    let (json, said, code) = read("aws-cni-support.tar.gz", &archive);
    assert_reads(&json, 3);
    assert_eq!((json["coverage"]["expected"].as_u64(), code), (Some(5), 1), "{said}");
    assert_eq!(names(&json)[0], "aws-cni-support.tar.gz:other/bad.gz");
    let lines = PAGE.lines().count() + 1;
    for part in [
        "aws-cni-support.tar.gz:other/metrics.json: the page is empty\n".to_owned(),
        "aws-cni-support.tar.gz:other/bad.gz: ".to_owned(),
        format!("aws-cni-support.tar.gz:third/metrics.json: line {lines}: "),
        "aws-cni-support.tar.gz: 5 files with metrics pages, 2 other files passed over\n".to_owned(),
    ] {
        assert!(said.contains(&part), "{part:?} is not in {said}");
    }
}

#[test]
fn a_bundle_that_ends_early_gives_what_was_whole() {
    let archive =
        bundle(&[file("a/metrics.json", PAGE.as_bytes()), file("b/metrics.json", PAGE.repeat(50).as_bytes())]);
    let (json, said, code) = read("cut.tgz", &archive[..archive.len() - 300]);
    assert_reads(&json, 1);
    assert_eq!((json["coverage"]["expected"].as_u64(), code), (Some(2), 1), "{said}");
    assert!(said.contains("cut.tgz:b/metrics.json: "), "{said}");
}

#[test]
fn a_folder_is_searched_for_pages_also_in_its_archives() {
    let folder = cni_testkit::temporary_folder();
    let logs = folder.path().join("logs");
    std::fs::create_dir_all(logs.join("one/ipamd")).unwrap();
    std::fs::write(logs.join("one/ipamd/metrics.json"), PAGE).unwrap();
    std::fs::write(logs.join("one/ipamd/ipamd.log"), "awscni is not at the start of awscni_eni_max\n").unwrap();
    std::fs::write(logs.join("two.txt"), PAGE).unwrap();
    std::fs::write(logs.join("three.tgz"), bundle(&[file("var/metrics.out", PAGE.as_bytes())])).unwrap();
    std::os::unix::fs::symlink(&logs, logs.join("again")).unwrap();
    let (json, said, code) = outcome(&inspect(&[&logs]), folder.path());
    assert_reads(&json, 3);
    assert_eq!(names(&json), ["logs/one/ipamd/metrics.json", "logs/three.tgz:var/metrics.out", "logs/two.txt"]);
    assert_eq!((said.as_str(), code), ("logs: 3 files with metrics pages, 2 other files passed over\n", 0));
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let (_, said, code) = outcome(&inspect(&[&folder.path().join("empty")]), folder.path());
    assert_eq!((said.as_str(), code), ("empty: no metrics page among 0 files\n", 1));
}

#[test]
fn compressed_and_utf16_files_are_read() {
    let utf16 = |mark: &[u8], write: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.iter().copied().chain(PAGE.replace('\n', "\r\n").encode_utf16().flat_map(write)).collect()
    };
    for (name, content) in [
        ("page.gz", gzip(PAGE.as_bytes())),
        ("members.gz", [gzip(&PAGE.as_bytes()[..1000]), gzip(&PAGE.as_bytes()[1000..])].concat()),
        ("little.txt", utf16(b"\xFF\xFE", u16::to_le_bytes)),
        ("big.txt", utf16(b"\xFE\xFF", u16::to_be_bytes)),
        ("unmarked.txt", utf16(b"", u16::to_le_bytes)),
        ("both.gz", gzip(&utf16(b"\xFF\xFE", u16::to_le_bytes))),
    ] {
        let (json, said, code) = read(name, &content);
        assert_reads(&json, 1);
        assert_eq!((said.as_str(), code), ("", 0), "{name}");
    }
    let (_, said, code) = read("page.zip", b"PK\x03\x04....");
    assert_eq!((said.as_str(), code), ("page.zip: it is a zip archive, which is not read here: unpack it first\n", 1));
}

#[test]
fn several_pages_in_one_file_are_as_many_nodes() {
    let bad = PAGE.replace("\nawscni_ip_max ", "\nawscni_ip_max x");
    let (json, said, code) = read("all.prom", format!("{PAGE}{bad}{PAGE}").as_bytes());
    assert_reads(&json, 3);
    assert_eq!(json["coverage"]["damaged"], 1);
    assert_eq!(names(&json), ["all.prom: page 1", "all.prom: page 2", "all.prom: page 3"]);
    let line = PAGE.lines().count() + PAGE.lines().position(|line| line.starts_with("awscni_ip_max ")).unwrap() + 1;
    assert!(said.starts_with("all.prom: 3 pages in one file, one node each\n"), "{said}");
    assert!(said.contains(&format!("all.prom: page 2: line {line}: ")), "{said}");
    assert_eq!((said.lines().count(), code), (2, 0), "{said}");
}

#[test]
fn a_federate_page_is_as_many_nodes_as_it_has_targets() {
    let mut page = String::new();
    for line in PAGE.lines().filter(|line| !line.starts_with('#')) {
        for node in 1..=3 {
            let target = format!("instance=\"10.61.7.{node}:61678\",job=\"aws-node\",node=\"node-{node}\"");
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (series, end) = match series.strip_suffix('}') {
                Some(labelled) => (labelled, ","),
                None => (series, "{"),
            };
            page.extend([series, end, &target, "} ", value, " 1764200100123\n"]);
        }
    }
    let (json, said, code) = read("federate.txt", page.as_bytes());
    assert_reads(&json, 3);
    assert_eq!(names(&json), ["node-1", "node-2", "node-3"]);
    assert_eq!(code, 0);
    assert_eq!(said, "federate.txt: a page of Prometheus' /federate with the series of 3 nodes\n");
    let alone = read("page.prom", PAGE.as_bytes()).0;
    let of_node = |json: &serde_json::Value| json["nodes"][0]["metrics"].clone();
    assert_eq!(of_node(&json), of_node(&alone), "labels of the target change no number");
}

#[test]
fn the_log_of_the_upstream_helper_is_as_many_nodes_as_its_last_round_has_pages() {
    let line =
        |message: &str| serde_json::json!({"level": "debug", "caller": "metrics.go:382", "msg": message}).to_string();
    let old = line("cni-metrics text output: awscni_eni_max 99\n");
    let page = line(&format!("cni-metrics text output: {PAGE}"));
    let total = line("Total aws-node pod count: 2");
    let produced = line("Produce GAUGE metrics: eniMaxAvailable, value: 6.000000");
    let log = [&total, &old, &old, &produced, &total, &page, &page, &produced].map(|line| format!("{line}\n")).concat();
    let (json, said, code) = read("helper.log", log.as_bytes());
    assert_reads(&json, 2);
    assert_eq!(names(&json), ["helper.log: page 1 (log line 6)", "helper.log: page 2 (log line 7)"]);
    assert!(
        said.contains("of the upstream helper with the pages of 2 nodes") && said.contains("1 earlier round"),
        "{said}"
    );
    assert_eq!(code, 0);
    let (json, said, code) = read("cut.log", &page.as_bytes()[..page.len() - 20]);
    assert_eq!((json["coverage"]["failed"]["bad_page"].as_u64(), code), (Some(1), 1));
    assert!(said.contains("cut.log: line 1 holds a page, but its JSON object cannot be read: "), "{said}");
}

#[test]
fn of_a_page_without_its_last_newline_the_rest_is_read_and_nothing_is_taken_for_absent() {
    // Cut inside the labels of a counter, and of the line itself only the newline.
    let at = PAGE.find("\nawscni_ec2api_req_count{").unwrap() + 30;
    let (json, said, code) = read("cut.prom", &PAGE.as_bytes()[..at]);
    let line = PAGE[..at].lines().count();
    assert_eq!(code, 0);
    let expected = format!(
        "cut.prom: line {line} has no newline at its end: it may be cut, and is left out; metrics that may have come after \
         it count as not measured\n"
    );
    assert_eq!(said, expected);
    let metrics = json["metrics"].as_object().unwrap();
    assert_eq!(metrics["assignIPAddresses"], ASSIGNED);
    for unknown in ["ec2ApiReqCount", "ipamdErr", "podENIErr", "totalIPAddresses", "noAvailableIPAddresses"] {
        assert!(!metrics.contains_key(unknown), "{unknown}: {json}");
    }
    let trimmed = PAGE.trim_end();
    assert!(trimmed.lines().last().unwrap().starts_with("process_start_time_seconds"));
    let (json, said, code) = read("trimmed.prom", trimmed.as_bytes());
    assert_reads(&json, 1);
    assert!(said.ends_with("it may be cut, and is left out\n"), "{said}");
    assert_eq!(code, 0);
}

#[test]
fn unknown_names_of_ipamds_prefix_are_counted_and_named() {
    let page = format!("{PAGE}awscni_total_ip_adresses 5\nawscni_new{{a=\"1\"}} 1\nawscni_new{{a=\"2\"}} 1\n");
    let (json, said, code) = read("page.prom", page.as_bytes());
    assert_reads(&json, 1);
    let lines = PAGE.lines().count();
    let expected = format!(
        "page.prom: 3 series of ipamd's prefix that no known agent serves, left out: awscni_new (2 lines from line {}), \
         awscni_total_ip_adresses (line {})\n",
        lines + 2,
        lines + 1
    );
    assert_eq!((said, code), (expected, 0));
}

#[test]
fn names_in_an_archive_reach_neither_the_disk_nor_the_terminal() {
    let folder = cni_testkit::temporary_folder();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let archive = bundle(&[
        file("../metrics.json", PAGE.as_bytes()),
        file("/tmp/../etc/metrics.prom", PAGE.as_bytes()),
        file("\x1b[2J/metrics.json", PAGE.as_bytes()),
        entry("metrics.json", b'2', b"", 0),
    ]);
    std::fs::write(inside.join("a.tgz"), archive).unwrap();
    let output = inspect(&[&inside.join("a.tgz")]);
    let (json, _, code) = outcome(&output, folder.path());
    assert_reads(&json, 3);
    assert_eq!(code, 0);
    assert!(names(&json).contains(&"inside/a.tgz:\\u{1b}[2J/metrics.json"));
    let files =
        |path: &Path| std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!((files(folder.path()), files(&inside)), (vec!["inside".into()], vec!["a.tgz".into()]));
}

#[test]
fn a_small_file_that_unpacks_to_much_is_given_up() {
    let bomb = gzip(&vec![b'\n'; 80 << 20]);
    assert!(bomb.len() < 1 << 20);
    let (json, said, code) = read("bomb.gz", &bomb);
    assert_eq!((json["coverage"]["failed"]["too_large"].as_u64(), code), (Some(1), 1));
    assert_eq!(said, "bomb.gz: larger than 67108864 bytes, not read\n");
    // In an archive it costs itself only.
    let archive = bundle(&[file("a/metrics.json", &vec![b'\n'; 80 << 20]), file("b/metrics.json", PAGE.as_bytes())]);
    let (json, said, code) = read("bundle.tgz", &archive);
    assert_reads(&json, 1);
    assert!(said.contains("bundle.tgz:a/metrics.json: larger than 67108864 bytes, not read\n"), "{said}");
    assert_eq!(code, 1);
    // A size that is not true.
    let lie = gzip(&entry("metrics.json", b'0', b"awscni_eni_max 3\n", (1 << 33) - 1));
    let (_, said, code) = read("lie.tgz", &lie);
    assert_eq!(
        (said.as_str(), code),
        ("lie.tgz:metrics.json: the archive ends early\nlie.tgz: 1 file with metrics pages\n", 1)
    );
}
