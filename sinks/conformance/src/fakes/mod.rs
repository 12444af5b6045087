//! Fake receivers: the destinations of the suite, of the process tests, and of the program `receivers`.
//!
//! Each listens on loopback, keeps what it took in [`Arrivals`], and has switches for the ways in which a real one fails.

mod arrivals;
pub mod certificates;
pub mod hec;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod syslog;

pub use arrivals::Arrivals;
