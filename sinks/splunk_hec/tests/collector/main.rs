//! The sink against the fake collector, over real sockets: answers, acknowledgements, bodies, TLS.

#[path = "../common/mod.rs"]
mod common;

mod acks;
mod answers;
mod balancer;
mod bodies;
mod tls;
