use super::*;
use crate::captured::captured_log;

fn read(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(FILE)).ok()
}

/// Waits for what another thread does.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends the thread, so that the folder's lock is free.
fn close(file: FindingsFile, folder: &Path) {
    drop(file);
    let lock = OpenOptions::new().write(true).open(folder.join(LOCK)).unwrap();
    until("the lock is free", || lock.try_lock().is_ok());
}

#[tokio::test]
async fn a_text_is_kept_until_the_next_start_and_the_newest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let first = FindingsFile::open(folder.path()).await;
    assert_eq!(first.earlier(), None);
    for text in ["one", "two", "three"] {
        first.keep(text.into());
    }
    until("the newest is written", || read(folder.path()).as_deref() == Some("three"));
    close(first, folder.path());
    let second = FindingsFile::open(folder.path()).await;
    assert_eq!(second.earlier().as_deref(), Some("three"));
    second.keep("four".into());
    assert_eq!(second.earlier(), None, "it is this process' own by now");
}

#[tokio::test]
async fn a_folder_of_another_helper_or_without_a_place_for_a_file_is_named_and_not_used() {
    let (subscriber, log) = captured_log();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().unwrap();
    let first = FindingsFile::open(folder.path()).await;
    first.keep("first".into());
    until("it is written", || read(folder.path()).is_some());
    let second = FindingsFile::open(folder.path()).await;
    second.keep("second".into());
    assert_eq!((second.earlier(), read(folder.path()).as_deref()), (None, Some("first")));
    let missing = FindingsFile::open(&folder.path().join("missing")).await;
    missing.keep("lost".into());
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("another helper uses this folder") && lines[1].contains("No such file"), "{lines:?}");
    assert!(
        lines.iter().all(|line| line.contains("WARN") && line.contains("open findings are not kept in SPOOL_DIR")),
        "{lines:?}"
    );
}

#[test]
fn a_write_that_fails_is_logged_once_and_so_is_its_end() {
    let (subscriber, log) = captured_log();
    let folder = tempfile::tempdir().unwrap();
    let mut writer = FolderThread { folder: folder.path().join("later"), lock: None, failure: None };
    let try_it = |writer: &mut FolderThread| writer.note(writer.write("text").map_err(|error| error.to_string()));
    tracing::subscriber::with_default(subscriber, || {
        (0..3).for_each(|_| try_it(&mut writer));
        fs::create_dir(&writer.folder).unwrap();
        (0..3).for_each(|_| try_it(&mut writer));
    });
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("open findings cannot be written to") && lines[1].contains("again"), "{lines:?}");
    assert_eq!(read(&writer.folder).as_deref(), Some("text"));
}

#[test]
fn a_text_that_is_no_text_is_read_for_its_reader_to_find_damaged_and_no_more_than_a_mebibyte() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), vec![0xff; 3 << 20]).unwrap();
    let mut writer = FolderThread { folder: folder.path().to_owned(), lock: None, failure: None };
    let text = writer.open().unwrap().unwrap();
    assert!(text.chars().all(|c| c == '\u{fffd}') && text.chars().count() == 1 << 20);
}
