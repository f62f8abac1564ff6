//! The control listener: the truth, the cluster's state, its clock and its faults, for tests and inspection.
//!
//! | request | answer |
//! |---|---|
//! | `GET /truth?from=&to=[&collector_start=][&collector_start_api=]` | what a perfect collector would publish; Unix ms |
//! | `GET /state` | clock, nodes, subnets, faults that hold |
//! | `POST /advance` `{"to_ms": N}` or `{"by_ms": N}` | moves a lockstep clock; answers `{"now_ms": N}` |
//! | `POST /faults` `{"set": [fault…]}`, `{"clear": [number…]}`, `{"clear_all": true}` | answers `{"numbers": […]}` |
//! | `GET /agents` | names of the agents' pods that a collector would scrape now: Running and not being deleted |
//! | `GET /cloudwatch/data` | every datum CloudWatch accepted |
//! | `POST /cloudwatch/take` | the same since the last call; data and CloudWatch's request log are then forgotten |
//! | `POST /forget` | forgets the pages handed over and pods that are gone: for runs of unlimited length |
//! | `GET /stats` | requests, connections, bytes, bursts of page requests, CloudWatch's requests |
//! | `POST /prepare` | makes all pages of this moment, where pages are kept |

use crate::api_server::ApiMeters;
use crate::cloudwatch::store::{CloudWatchStore, Datum, Outcome};
use crate::cluster::SimulatedCluster;
use crate::meter::Traffic;
use crate::scenario::FaultSpec;
use crate::truth::Window;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the listener needs.
#[derive(Clone)]
pub struct Control {
    /// The cluster.
    pub cluster: Arc<SimulatedCluster>,
    /// CloudWatch's store.
    pub cloudwatch: Arc<CloudWatchStore>,
    /// What the API server counts.
    pub(crate) api_server: ApiMeters,
    /// What the nodes' listener saw.
    pub(crate) nodes: Arc<Traffic>,
    /// The clock moves only on request.
    pub lockstep: bool,
}

/// The listener as a router.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/truth", get(truth))
        .route("/state", get(state))
        .route("/advance", post(advance))
        .route("/faults", post(faults))
        .route("/agents", get(agents))
        .route("/cloudwatch/data", get(cloudwatch))
        .route("/cloudwatch/take", post(take))
        .route("/forget", post(forget))
        .route("/stats", get(stats))
        .route("/prepare", post(prepare))
        .with_state(control)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    to_ms: Option<i64>,
    by_ms: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FaultsRequest {
    set: Vec<FaultSpec>,
    clear: Vec<usize>,
    clear_all: bool,
}

/// How much of the truth the answer holds.
#[derive(Debug, Deserialize)]
struct Detail {
    /// False leaves out the figures of each node.
    nodes: Option<bool>,
}

async fn truth(State(control): State<Control>, Query(window): Query<Window>, Query(detail): Query<Detail>) -> Response {
    // A replay of a large cluster's history takes a while.
    let answer = tokio::task::spawn_blocking(move || {
        let mut truth = control.cluster.truth().round(window);
        if detail.nodes == Some(false) {
            truth.nodes.clear();
        }
        json!(truth)
    })
    .await;
    answer.map_or_else(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()), ok)
}

async fn state(State(control): State<Control>) -> Response {
    ok(json!(control.cluster.status()))
}

async fn advance(State(control): State<Control>, body: String) -> Response {
    let now_ms = control.cluster.now_ms();
    let to_ms = match read::<Advance>(&body) {
        Ok(Advance { to_ms: Some(to_ms), by_ms: None }) => to_ms,
        Ok(Advance { to_ms: None, by_ms: Some(by_ms) }) => now_ms.saturating_add(by_ms),
        Ok(_) => return refuse(StatusCode::BAD_REQUEST, "exactly one of to_ms and by_ms is required"),
        Err(message) => return refuse(StatusCode::BAD_REQUEST, &message),
    };
    if !control.lockstep {
        return refuse(
            StatusCode::CONFLICT,
            "this clock runs by itself: start the simulator with --lockstep to advance it by requests",
        );
    }
    if to_ms < now_ms {
        return refuse(
            StatusCode::BAD_REQUEST,
            &format!("the clock cannot be moved back to {to_ms}: it shows {now_ms}"),
        );
    }
    let cluster = control.cluster.clone();
    let done = tokio::task::spawn_blocking(move || cluster.advance_to(to_ms)).await;
    match done {
        Ok(()) => ok(json!({ "now_ms": control.cluster.now_ms() })),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn faults(State(control): State<Control>, body: String) -> Response {
    let wanted = match read::<FaultsRequest>(&body) {
        Ok(wanted) => wanted,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, &message),
    };
    if wanted.clear_all {
        control.cluster.clear_all();
    }
    let unknown: Vec<usize> = wanted.clear.into_iter().filter(|number| !control.cluster.clear(*number)).collect();
    if !unknown.is_empty() {
        return refuse(StatusCode::NOT_FOUND, &format!("there are no faults numbered {unknown:?}"));
    }
    let mistakes = control.cluster.mistakes(&wanted.set);
    if !mistakes.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, &mistakes.join("\n"));
    }
    let numbers: Vec<usize> = wanted.set.into_iter().map(|fault| control.cluster.inject(fault)).collect();
    // They hold from now on, also while a lockstep clock stands still.
    control.cluster.advance_to(control.cluster.now_ms());
    ok(json!({ "numbers": numbers }))
}

async fn agents(State(control): State<Control>) -> Response {
    ok(json!(control.cluster.running_agents()))
}

async fn cloudwatch(State(control): State<Control>) -> Response {
    ok(data_json(&control.cloudwatch.data()))
}

async fn take(State(control): State<Control>) -> Response {
    ok(data_json(&control.cloudwatch.take()))
}

async fn forget(State(control): State<Control>) -> Response {
    control.cluster.forget_logs();
    ok(json!({}))
}

fn data_json(data: &[Arc<Datum>]) -> Value {
    let data: Vec<Value> = data
        .iter()
        .map(|datum| {
            json!({
                "namespace": datum.key.namespace,
                "name": datum.key.name,
                "dimensions": datum.key.dimensions,
                "timestamp_ms": datum.timestamp_ms,
                "value": datum.value,
                "values": datum.values,
                "statistics": {
                    "count": datum.statistics.count,
                    "sum": datum.statistics.sum,
                    "min": datum.statistics.min,
                    "max": datum.statistics.max,
                },
                "unit": datum.unit,
                "resolution_s": datum.resolution_s,
                "arrived_ms": datum.arrived_ms,
                "request": datum.request,
            })
        })
        .collect();
    Value::Array(data)
}

/// What the sockets saw. Times are microseconds since the cluster was made.
async fn stats(State(control): State<Control>) -> Response {
    let meter = control.cluster.meter();
    let (open, bursts) = meter.bursts();
    let requests = control.cloudwatch.requests();
    let accepted = requests.iter().filter(|request| request.outcome == Outcome::Accepted);
    ok(json!({
        "now_us": meter.now_us(),
        "wall_ms": crate::wall_clock::wall_ms(),
        "requests": control.api_server.requests(),
        "resource_version": control.cluster.kube().resource_version(),
        "listeners": {
            "http": control.api_server.http.figures(),
            "https": control.api_server.https.figures(),
            "nodes": control.nodes.figures(),
        },
        "pages_open": open,
        "bursts": bursts,
        "cloudwatch": {
            "requests": requests.len(),
            "accepted": accepted.clone().count(),
            "wire_bytes": accepted.clone().map(|request| request.wire_bytes).sum::<usize>(),
            "body_bytes": accepted.clone().map(|request| request.body_bytes).sum::<usize>(),
            "data": accepted.map(|request| request.data_count).sum::<usize>(),
        },
    }))
}

async fn prepare(State(control): State<Control>) -> Response {
    let cluster = control.cluster.clone();
    match tokio::task::spawn_blocking(move || cluster.prepare_pages()).await {
        Ok(()) => ok(json!({})),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// JSON is YAML: so faults are read by the reader that knows lines and columns.
fn read<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, String> {
    serde_saphyr::from_str(body).map_err(|error| error.to_string())
}

fn ok(value: Value) -> Response {
    axum::Json(value).into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "error": message }))).into_response()
}
