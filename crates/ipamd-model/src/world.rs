//! The world that answers an agent's outputs: EC2, instance metadata, the host, the API server, kubelet and container runtime.
//!
//! It runs in virtual time and draws everything from a seed; it opens no sockets and reads no clock. An agent is anything with
//! [`agent::Agent`]; it knows only what it is answered, and answers may be late, partial, doubled or lost.
//!
//! Read in this order: `subnet` and `ec2` (what executes the calls), `wire` (the way there), `imds`, `host`, `disk`, `kube`,
//! `kubelet` (what else answers), `faults` (what goes wrong), `node` and `run` (what moves it),
//! `census` (what must never be) and `cases` (histories from the field).

pub mod account;
pub mod agent;
pub mod cases;
pub mod census;
pub mod disk;
pub mod ec2;
pub mod event;
pub mod faults;
pub mod history;
pub mod host;
pub mod imds;
pub mod kube;
pub mod kubelet;
pub mod node;
pub mod run;
pub mod subnet;
pub mod throttle;
pub mod wire;

pub use account::{Account, Moment};
pub use agent::{Agent, Agents};
pub use node::{Parts, WorldNode};
pub use run::{World, WorldNodeSpec};
