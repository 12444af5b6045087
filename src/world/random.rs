//! The machine's randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use rustls::crypto::SecureRandom;

use super::Random;

/// Random bits from the operating system, by way of the cryptography that TLS uses anyway.
#[derive(Debug)]
pub struct SystemRandom {
    source: &'static dyn SecureRandom,
    /// Only used should the operating system refuse.
    fallback: AtomicU64,
}

impl SystemRandom {
    /// Asks for nothing yet.
    pub fn new() -> Self {
        let fallback = AtomicU64::new(u64::from(std::process::id()) << 32);
        SystemRandom { source: rustls::crypto::ring::default_provider().secure_random, fallback }
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        SystemRandom::new()
    }
}

impl Random for SystemRandom {
    fn next(&self) -> u64 {
        let mut bytes = [0; 8];
        match self.source.fill(&mut bytes) {
            Ok(()) => u64::from_ne_bytes(bytes),
            // jitter and identifiers must not stop the agent: numbers that differ per process and call (splitmix64)
            Err(_) => {
                let mut x = self.fallback.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
                x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                x ^ (x >> 31)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        let random = SystemRandom::new();
        let mut numbers: Vec<_> = (0..1_000).map(|_| random.next()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1_000);
    }
}
