//! How much an LZ4 frame can decode to, seen from outside: a library that trusts the frame would
//! be filled up by a small one.

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();

/// Whether the bytes are one LZ4 frame that holds at most `limit` bytes, and a block more.
pub(super) fn is_bounded(frame: &[u8], limit: usize) -> bool {
    blocks(frame)
        .is_some_and(|(blocks, size)| (blocks.saturating_sub(1)).saturating_mul(size) <= limit)
}

/// The number of blocks, and the most bytes of one.
fn blocks(frame: &[u8]) -> Option<(usize, usize)> {
    let rest = frame.strip_prefix(&MAGIC)?;
    let (flags, size) = (*rest.first()?, *rest.get(1)?);
    let size = match (size >> 4) & 7 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return None,
    };
    // Content size, dictionary id, checksum of the header.
    let header = 2 + usize::from(flags & 8 != 0) * 8 + usize::from(flags & 1 != 0) * 4 + 1;
    let block_checksum = usize::from(flags & 16 != 0) * 4;
    let content_checksum = usize::from(flags & 4 != 0) * 4;
    let mut rest = rest.get(header..)?;
    let mut count = 0;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) & 0x7fff_ffff;
        if length == 0 {
            return (after.len() == content_checksum).then_some((count, size));
        }
        count += 1;
        rest = after.get((length as usize).checked_add(block_checksum)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(blocks: &[usize]) -> Vec<u8> {
        let mut frame = MAGIC.to_vec();
        // Independent blocks of at most 64 KiB, no checksums.
        frame.extend([0x60, 0x40, 0x00]);
        for length in blocks {
            frame.extend((*length as u32).to_le_bytes());
            frame.extend(vec![0; *length]);
        }
        frame.extend([0; 4]);
        frame
    }

    #[test]
    fn blocks_are_counted() {
        let two = frame(&[7, 9]);
        assert_eq!(blocks(&two), Some((2, 64 << 10)));
        assert!(is_bounded(&two, 64 << 10));
        assert!(!is_bounded(&two, 1000));
        assert!(is_bounded(&frame(&[100]), 10));
        for cut in 0..two.len() {
            assert!(!is_bounded(&two[..cut], usize::MAX), "cut at {cut}");
        }
        // A second frame after the first is not looked into, so it is refused.
        assert!(!is_bounded(&[two.clone(), two].concat(), usize::MAX));
    }
}
