//! Vectors of texts without a model, for tests and demonstrations.
//!
//! For a block number b = 0, 1, … the SHA-256 digest of the text in UTF-8, followed by b as four
//! bytes, is eight unsigned numbers of four bytes; all numbers are little-endian. Number u becomes
//! u / 2³¹ − 1. Of as many as the width asks for the vector of length 1 is taken. Equal texts are
//! near each other; of others it can be said only that they are not.

use sha2::{Digest, Sha256};

/// The vector of a text.
pub(super) fn vector(text: &str, width: u32) -> Vec<f32> {
    let digests = (0_u32..).map(|block| {
        let digest = Sha256::new().chain_update(text);
        digest.chain_update(block.to_le_bytes()).finalize()
    });
    let numbers = digests.flat_map(|digest| {
        let numbers = digest.chunks_exact(4).map(|bytes| {
            let bytes = bytes.try_into().unwrap_or_default();
            f64::from(u32::from_le_bytes(bytes)) / f64::from(1_u32 << 31) - 1.0
        });
        numbers.collect::<Vec<f64>>()
    });
    let numbers: Vec<f64> = numbers.take(width as usize).collect();
    let squares: f64 = numbers.iter().map(|x| x * x).sum();
    let length = squares.sqrt();
    numbers.iter().map(|x| (x / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_those_of_the_description() {
        // Computed by another program from the description above.
        assert_eq!(vector("red apple", 3), RED_APPLE);
        assert_eq!(vector("red apple", 9).len(), 9);
        for width in [1, 2, 8, 9, 1536] {
            let vector = vector("é", width);
            let squares = vector.iter().map(|x| f64::from(*x).powi(2));
            let length: f64 = squares.sum();
            assert!((length - 1.0).abs() < 1e-5, "{width}: {length}");
        }
        assert_ne!(vector("a", 4), vector("b", 4));
    }

    const RED_APPLE: [f32; 3] = [-0.865_439_9, -0.396_840_7, -0.305_828_87];
}
