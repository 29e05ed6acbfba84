//! OpenTelemetry: metrics, findings as log records and tasks of goroutines as spans, sent as OTLP. Off unless
//! the standard variables give an endpoint; docs/opentelemetry.md.
//!
//! - [`config`] is what the variables say, [`client`] the ways to a receiver, [`sender`] the thread that waits for it,
//!   [`pending`] what waits for that, [`health`] what became of it all;
//! - [`run`] sends what one trace has: metrics, findings and tasks;
//! - [`node`] sends the findings of all processes that an agent follows;
//! - [`metrics`], [`logs`], [`spans`] and [`attribute`] put things as the protocol has them.
//!
//! The messages are those of the official protobufs (`opentelemetry-proto`). The SDK is not used: its
//! instruments count for themselves and have no place for a histogram that was counted already, and its
//! queues do not tell what they drop.

mod attribute;
mod client;
mod config;
mod health;
mod logs;
mod metrics;
mod node;
mod pending;
mod run;
mod sender;
mod spans;

pub(crate) use config::{Config, Signal};
pub(crate) use health::Health;
pub(crate) use node::{NodeExporter, NodeOutlet};
pub(crate) use run::{Exporter, Outlet, Trace};
