//! Deterministic pseudo-random decisions: the same input gives the same decision.

use sha2::{Digest, Sha256};

/// Returns true if a fault of this probability hits the n-th request of an operation.
pub(super) fn hits(seed: u64, fault: usize, operation: &str, n: u64, probability: f64) -> bool {
    if probability >= 1.0 {
        return true;
    }
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(u64::try_from(fault).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(n.to_be_bytes());
    hash.update(operation);
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
    f64::from(u32::from_be_bytes([a, b, c, d])) < probability * (f64::from(u32::MAX) + 1.0)
}
