use std::sync::mpsc;

use super::*;
use crate::selection::ROWS;

fn settings() -> SpoolSettings {
    SpoolSettings {
        dir: Some(PathBuf::from("/scripted")),
        origin: Origin { namespace: "Kubernetes".to_owned(), cluster_id: "ours".parse().unwrap(), shard: None },
        buffer_bytes: 1 << 20,
        flush_every: Duration::from_mins(1),
    }
}

#[tokio::test]
async fn a_foreign_file_on_a_volume_that_hangs_does_not_make_an_image_count_as_written() {
    let (release, released) = mpsc::channel::<()>();
    let folder = Folder::worked_by(PathBuf::from("/scripted"), move |job, _given_up| {
        if matches!(job, Job::SetAside { .. }) {
            let _gone = released.recv();
            let path = PathBuf::from("/scripted/aside");
            return Ok(Done::SetAside(folder::Aside { path, points: Some(1) }));
        }
        // The image is never written.
        let _gone = released.recv();
        Err(folder::FolderError::GivenUp)
    });
    let rounds = vec![Kept::new(UnixMillis(0), [(&ROWS[0], 1.0)])];
    let restored = Restored {
        rounds,
        in_doubt: Vec::new(),
        counters: None,
        counters_at: None,
        saved_at: UnixMillis(0),
        namespace: "Kubernetes".to_owned(),
        cluster_id: "another".to_owned(),
        shard: String::new(),
    };
    let unnamed = Unnamed { folder, taken: Taken::Yes, trouble: None, restored: Some(restored) };
    let opened = Opened { unnamed: Some(Box::new(unnamed)), ..Opened::none() };
    let opened = opened.named(&settings(), &Clock::wall()).await;
    assert_eq!((opened.unusable, opened.rounds.len()), (1, 0));
    let spool = opened.spool.unwrap();
    assert!(spool.health().borrow().trouble.as_ref().unwrap().contains("did not answer within"));
    spool.save(vec![1]);
    release.send(()).unwrap();
    assert!(!spool.flush(Duration::from_millis(200)).await, "the image was not written");
    drop(release);
}
