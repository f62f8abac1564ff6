use std::sync::Mutex;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};

use super::*;
use crate::captured::captured_log;
use cni_runtime::clock::Clock;
use cni_runtime::gate::Leadership;

/// An API server with one lease. A read whose answer takes `pause` is as if this process had been stopped after the
/// answer was sent.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    pause: Option<Duration>,
}

async fn answer(server: Arc<Mutex<Server>>, request: Request<kube::client::Body>) -> Response<Body> {
    let is_read = request.method() == Method::GET;
    let body = request.into_body().collect_bytes().await.unwrap();
    let (lease, pause) = {
        let mut server = server.lock().unwrap();
        if !is_read {
            let mut lease: Lease = serde_json::from_slice(&body).unwrap();
            let version = format!("{:?}", lease.spec.as_ref().map(|spec| &spec.renew_time));
            lease.metadata.resource_version = Some(version);
            server.lease = Some(lease);
        }
        (server.lease.clone(), server.pause.take())
    };
    if let Some(pause) = pause {
        tokio::time::advance(pause).await;
    }
    let mut response = Response::new(Body::from(serde_json::to_vec(&lease).unwrap()));
    if lease.is_none() {
        *response.body_mut() = Body::from(r#"{"kind":"Status","apiVersion":"v1","code":404,"reason":"NotFound"}"#);
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

/// A replica of this name that takes part in the election.
fn replica(server: &Arc<Mutex<Server>>, identity: &str) -> (LeaseManager, Leadership) {
    let answering = Arc::clone(server);
    let service = tower::service_fn(move |request| {
        let answered = answer(Arc::clone(&answering), request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let settings = LeadSettings {
        namespace: "kube-system".into(),
        name: "helper".into(),
        identity: identity.into(),
        duration: Duration::from_secs(5),
        is_warm: true,
        interval: Duration::from_secs(1),
        clock: Clock::wall(),
    };
    let (channels, leadership) = Leadership::elected(true, settings.clock.clone(), settings.interval);
    let candidate = Candidate::new(settings.identity.clone(), settings.duration, settings.interval);
    let api = Api::namespaced(Client::new(service, "default"), "kube-system");
    let manager =
        LeaseManager { api, settings, candidate, channels, failure: None, doubt: None, led: false, held_at: None };
    (manager, leadership)
}

const PERIOD: Duration = Duration::from_millis(625);

async fn look(manager: &mut LeaseManager, leadership: &Leadership) {
    leadership.turned();
    manager.look(PERIOD).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_finds_what_its_leader_kept_and_what_is_older_does_not_come_back() {
    let server = Arc::new(Mutex::new(Server::default()));
    let in_lease = || server.lock().unwrap().lease.as_ref().and_then(left);
    let ((mut first, one), (mut second, two)) = (replica(&server, "a"), replica(&server, "b"));
    look(&mut first, &one).await;
    assert_eq!((one.is_leading(), one.left(), in_lease()), (true, None, None));
    one.keep("of a".into());
    look(&mut first, &one).await;
    assert_eq!(in_lease().as_deref(), Some("of a"));
    look(&mut second, &two).await;
    assert_eq!((two.is_leading(), two.left().as_deref()), (false, Some("of a")));

    // The leader is gone.
    tokio::time::advance(Duration::from_secs(6)).await;
    look(&mut second, &two).await;
    assert!(two.is_leading());
    assert_eq!(
        (in_lease().as_deref(), two.left().as_deref()),
        (Some("of a"), Some("of a")),
        "kept until it has its own"
    );
    two.keep("of b".into());
    look(&mut second, &two).await;
    look(&mut second, &two).await;
    assert_eq!((in_lease().as_deref(), two.left().as_deref()), (Some("of b"), Some("of a")));

    // The first one comes back: what it had kept is older.
    look(&mut first, &one).await;
    assert_eq!((one.is_leading(), one.left().as_deref()), (false, Some("of b")));
    second.release().await;
    look(&mut first, &one).await;
    assert!(one.is_leading());
    assert_eq!(in_lease().as_deref(), Some("of b"));
    one.keep("of a again".into());
    look(&mut first, &one).await;
    assert_eq!(in_lease().as_deref(), Some("of a again"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_lapses_for_a_moment_keeps_what_was_kept() {
    let server = Arc::new(Mutex::new(Server::default()));
    let (mut manager, leadership) = replica(&server, "a");
    look(&mut manager, &leadership).await;
    leadership.keep("of a".into());
    look(&mut manager, &leadership).await;
    let tenure = leadership.tenure();
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(!leadership.is_leading() && leadership.is_held());
    leadership.keep("of a, later".into());
    look(&mut manager, &leadership).await;
    assert!(leadership.is_leading());
    assert_eq!((leadership.tenure(), leadership.left()), (tenure, None));
    assert_eq!(server.lock().unwrap().lease.as_ref().and_then(left).as_deref(), Some("of a, later"));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_spanned_a_stop_of_the_process_decides_nothing() {
    let server = Arc::new(Mutex::new(Server::default()));
    let (mut manager, leadership) = replica(&server, "a");
    let (subscriber, log) = captured_log();
    let _guard = tracing::subscriber::set_default(subscriber);
    let period = PERIOD;

    leadership.turned();
    manager.look(period).await;
    assert!(leadership.is_leading());
    server.lock().unwrap().pause = Some(Duration::from_secs(12));
    manager.look(period).await;
    assert!(!leadership.is_leading());
    // Not given back: it is not known who holds it by now, and the rounds turn as soon as they can.
    let holder = server.lock().unwrap().lease.clone().and_then(|lease| lease.spec?.holder_identity);
    assert_eq!(holder.as_deref(), Some("a"));
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("not leading any more: a could not renew")), "{lines:#?}");
    leadership.turned();
    manager.look(period).await;
    assert!(leadership.is_leading());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stays_ahead_is_logged_once_an_hour() {
    let (mut logged, mut lines) = (None, 0);
    for round in 0..2880 {
        let said = UnixMillis(3_600_000 + round * 30_000);
        let doubt = Doubt { said, assumed: UnixMillis(round * 30_000) };
        // The lease is looked at several times a round.
        for _look in 0..5 {
            if is_news(logged, doubt, Instant::now()) {
                (logged, lines) = (Some((doubt, Instant::now())), lines + 1);
            }
        }
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    assert_eq!(lines, 24);
}
