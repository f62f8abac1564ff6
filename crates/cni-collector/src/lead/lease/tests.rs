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

#[tokio::test(start_paused = true)]
async fn a_read_that_spanned_a_stop_of_the_process_decides_nothing() {
    let server = Arc::new(Mutex::new(Server::default()));
    let answering = Arc::clone(&server);
    let service = tower::service_fn(move |request| {
        let answered = answer(Arc::clone(&answering), request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let settings = LeadSettings {
        namespace: "kube-system".into(),
        name: "helper".into(),
        identity: "a".into(),
        duration: Duration::from_secs(5),
        is_warm: true,
        interval: Duration::from_secs(1),
        clock: Clock::wall(),
    };
    let (channels, leadership) = Leadership::elected(true, settings.clock.clone(), settings.interval);
    let candidate = Candidate::new(settings.identity.clone(), settings.duration, settings.interval);
    let api = Api::namespaced(Client::new(service, "default"), "kube-system");
    let mut manager =
        LeaseManager { api, settings, candidate, channels, failure: None, doubt: None, led: false, held_at: None };
    let (subscriber, log) = captured_log();
    let _guard = tracing::subscriber::set_default(subscriber);
    let period = Duration::from_millis(625);

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
