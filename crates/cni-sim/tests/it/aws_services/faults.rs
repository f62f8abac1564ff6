//! Scripted faults, seen from a client, in each protocol.

use std::sync::Arc;
use std::time::Duration;

use cni_sim::aws::doc::Doc;
use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::cloudwatch::store::{Outcome, RequestRecord};

use super::harness::Reply;
use super::protocols::{ALL, Protocol, Service, datum, error_of, put};

const LIMIT: Duration = Duration::from_mins(1);

async fn put_one(service: &Service, protocol: Protocol) -> Reply {
    service.call(protocol, "PutMetricData", &put(vec![datum("m", 1.0)])).await
}

#[test]
async fn errors_have_their_status_code_and_side() {
    for protocol in ALL {
        let service = Service::start().await;
        for (fault, status, code, side) in [
            (Fault::Throttle, 400, "Throttling", "Sender"),
            (Fault::AccessDenied, 403, "AccessDenied", "Sender"),
            (Fault::ExpiredToken, 403, "ExpiredToken", "Sender"),
            (Fault::Invalid, 400, "InvalidParameterValue", "Sender"),
            (Fault::Unavailable, 503, "ServiceUnavailable", "Receiver"),
            (Fault::Internal, 500, "InternalServiceError", "Receiver"),
        ] {
            service.cloudwatch.faults().set(vec![FaultRule::always(fault)]);
            let reply = put_one(&service, protocol).await;
            let (found, message) = error_of(protocol, &reply);
            assert_eq!((reply.status.as_u16(), found.as_str()), (status, code), "{protocol:?}");
            match protocol {
                Protocol::Query => assert!(reply.text().contains(&format!("<Type>{side}</Type>"))),
                Protocol::Cbor | Protocol::Json => {
                    assert_eq!(reply.header("x-amzn-query-error"), format!("{code};{side}"));
                }
            }
            if code == "AccessDenied" {
                assert!(message.contains("cloudwatch:PutMetricData"), "{message}");
            }
            let last = service.store.requests().pop().unwrap();
            assert_eq!(last.outcome, Outcome::Rejected { status, code: code.to_owned() });
        }
        service.cloudwatch.faults().clear();
        assert_eq!(put_one(&service, protocol).await.status, 200);
        assert_eq!(service.store.len(), 1);
    }
}

#[test]
async fn a_window_of_the_services_clock() {
    let service = Service::start().await;
    let start = super::harness::NOW_MS + 1000;
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::Unavailable).during(start..start + 1000)]);
    for (step, status) in [(0, 200), (1000, 503), (999, 503), (1, 200)] {
        service.clock.advance_ms(step);
        assert_eq!(put_one(&service, Protocol::Cbor).await.status, status);
    }
}

#[test]
async fn a_permitted_rate() {
    let service = Service::start().await;
    service.cloudwatch.faults().set_rate_limit(Some(2.0));
    let mut statuses = Vec::new();
    for step in [0, 0, 0, 500, 0] {
        service.clock.advance_ms(step);
        statuses.push(put_one(&service, Protocol::Json).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 400, 200, 400]);
}

#[test]
async fn a_reset_breaks_the_connection_and_stores_nothing() {
    let service = Service::start().await;
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::Reset)]);
    let body = "Action=PutMetricData";
    let broken = super::harness::request("POST", &service.server.url("/"), &[], body).await;
    assert!(broken.is_err(), "{broken:?}");
    assert!(service.store.is_empty());
    assert_eq!(service.store.requests()[0].outcome, Outcome::Reset);
}

#[test]
async fn a_reset_is_a_reset_on_the_wire() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let service = Service::start().await;
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::Reset)]);
    let mut stream = tokio::net::TcpStream::connect(service.server.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\nAction=X").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
async fn an_answer_can_be_lost_after_the_data_are_stored() {
    let service = Service::start().await;
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::ResetAfter)]);
    let server = Arc::new(service);
    let asking = Arc::clone(&server);
    // The harness unwraps the connection error in its task; the store shows what happened here.
    let asked = tokio::spawn(async move { put_one(&asking, Protocol::Cbor).await });
    assert!(asked.await.is_err(), "an answer came through");
    assert_eq!(server.store.len(), 1);
    assert_eq!(server.store.requests()[0].outcome, Outcome::AcceptedThenReset);
}

#[test]
async fn a_request_can_be_stored_and_never_answered() {
    let service = Arc::new(Service::start().await);
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::HangAfter)]);
    let asking = Arc::clone(&service);
    let asked = tokio::spawn(async move { put_one(&asking, Protocol::Cbor).await });
    let hung = |request: &RequestRecord| request.outcome == Outcome::AcceptedThenHung;
    assert!(service.store.wait_until(LIMIT, |store| store.requests().iter().any(hung)).await);
    assert_eq!(service.store.len(), 1);
    assert!(!asked.is_finished(), "an answer came through");
    asked.abort();
}

#[test]
async fn a_hang_lasts_until_the_client_gives_up() {
    let service = Service::start().await;
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::Hang).on("PutMetricData")]);
    tokio::select! {
        reply = put_one(&service, Protocol::Cbor) => panic!("answered {reply:?}"),
        logged = service.store.wait_until(LIMIT, |store| store.requests().iter().any(|r| r.outcome == Outcome::Hung)) => {
            assert!(logged);
        }
    }
    assert!(service.store.is_empty());
    let list = service.call(Protocol::Cbor, "ListMetrics", &Doc::map([])).await;
    assert_eq!(list.status, 200, "only the named operation hangs");
}

#[test]
async fn a_source_outside_the_script_is_asked() {
    let service = Service::start().await;
    service.cloudwatch.faults().set_source(Some(Arc::new(|operation| {
        if operation == "PutMetricData" { Fault::Throttle } else { Fault::None }
    })));
    assert_eq!(put_one(&service, Protocol::Cbor).await.status, 400);
    assert_eq!(service.call(Protocol::Cbor, "ListMetrics", &Doc::map([])).await.status, 200);
}

#[test]
async fn a_delay_is_added_and_the_answer_comes() {
    let service = Service::start().await;
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::Delay(50))]);
    let started = std::time::Instant::now();
    assert_eq!(put_one(&service, Protocol::Cbor).await.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert_eq!(service.store.len(), 1);
}

#[test]
async fn expired_credentials_of_the_simulators_own_are_refused() {
    let service = Service::start().await;
    let issued = cni_sim::aws::identity::Credentials::issue("STS", 1, super::harness::NOW_MS + 1000);
    let body = super::protocols::encode(Protocol::Cbor, "PutMetricData", &put(vec![datum("m", 1.0)]));
    let token = [("x-amz-security-token", issued.session_token.as_str())];
    let call = async || service.call_with(Protocol::Cbor, "PutMetricData", body.clone(), &token).await;
    assert_eq!(call().await.status, 200);
    service.clock.advance_ms(1000);
    let reply = call().await;
    assert_eq!((reply.status.as_u16(), error_of(Protocol::Cbor, &reply).0.as_str()), (403, "ExpiredToken"));
    assert_eq!(service.store.len(), 1);
}
