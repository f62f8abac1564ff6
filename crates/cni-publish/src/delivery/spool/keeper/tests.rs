use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;

use super::super::format::Unreadable;
use super::*;

const LIMIT: Duration = Duration::from_mins(1);

/// A folder whose jobs wait until the test answers them.
struct Scripted {
    jobs: std_mpsc::Receiver<Job>,
    answers: std_mpsc::Sender<Result<Done, FolderError>>,
}

fn scripted() -> (Folder, Scripted) {
    let (seen, jobs) = std_mpsc::channel();
    let (answers, answer) = std_mpsc::channel();
    let folder = Folder::worked_by(PathBuf::from("/scripted"), move |job, _given_up| {
        let _over = seen.send(job);
        answer.recv().unwrap_or(Err(FolderError::GivenUp))
    });
    (folder, Scripted { jobs, answers })
}

impl Scripted {
    async fn next(self) -> (Job, Self) {
        tokio::task::spawn_blocking(move || (self.jobs.recv_timeout(LIMIT).unwrap(), self)).await.unwrap()
    }
}

fn aside(points: u64) -> Aside {
    Aside { path: PathBuf::from("/scripted/aside"), points: Some(points) }
}

#[tokio::test]
async fn an_image_that_was_placed_too_late_is_removed_where_nothing_was_claimed() {
    let (folder, script) = scripted();
    let spool = Spool::keep(folder, Taken::No, None, Clock::wall());
    spool.save(vec![1]);
    let (job, script) = script.next().await;
    assert!(matches!(job, Job::Replace { .. }), "{job:?}");
    // Its limit shortens the wait for the image; then the request is sent without a claim.
    spool.claims().claim(vec![2]).await;
    script.answers.send(Ok(Done::Replaced(Some(aside(7))))).unwrap();
    let (job, script) = script.next().await;
    assert!(matches!(job, Job::Remove), "what was sent would be sent again by the next start: {job:?}");
    script.answers.send(Ok(Done::Removed)).unwrap();
    assert_eq!(spool.health().borrow().set_aside, 7);
}

#[tokio::test]
async fn what_a_late_start_sets_aside_is_counted() {
    let (mut folder, script) = scripted();
    folder.begin(Job::Open);
    let (_open, script) = script.next().await;
    folder.give_up();
    let spool = Spool::keep(folder, Taken::Hangs, None, Clock::wall());
    let found = Found::Unreadable(Unreadable::Damaged("a test"), aside(5));
    script.answers.send(Ok(Done::Opened(found, None))).unwrap();
    let mut health = spool.health();
    let counted = health.wait_for(|health| health.set_aside == 5);
    assert!(tokio::time::timeout(LIMIT, counted).await.is_ok());
}
