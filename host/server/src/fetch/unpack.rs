//! A component as it stands in a ConfigMap, which holds a mebibyte: plain, or packed with zstd or gzip.
//!
//! Which of them, its first bytes say; that it unpacks to no more than the limit is seen while it is unpacked.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::error::FetchErrorKind;

/// RFC 8878, section 3.1.1.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What `zstd` keeps of what it unpacks, but with `--long`.
const USUAL_WINDOW: u64 = 8 << 20;

/// Unpacks what is packed.
pub(super) fn unpack(bytes: &[u8], limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    let wrong = |format, reason: String| FetchErrorKind::Unpack { format, reason };
    if bytes.starts_with(&ZSTD) {
        let mut decoder = FrameDecoder::new();
        // It takes that much memory.
        decoder.set_max_window_size(USUAL_WINDOW.max(limit as u64));
        let stream = StreamingDecoder::new_with_decoder(bytes, decoder);
        let stream = stream.map_err(|error| wrong("zstd", error.to_string()))?;
        bounded(stream, limit, |error| wrong("zstd", error.to_string()))
    } else if bytes.starts_with(&GZIP) {
        bounded(GzDecoder::new(bytes), limit, |error| wrong("gzip", error.to_string()))
    } else {
        bounded(bytes, limit, |error| wrong("it stands", error.to_string()))
    }
}

fn bounded(
    stream: impl Read,
    limit: usize,
    wrong: impl Fn(io::Error) -> FetchErrorKind,
) -> Result<Vec<u8>, FetchErrorKind> {
    let mut unpacked = Vec::new();
    stream.take(limit as u64 + 1).read_to_end(&mut unpacked).map_err(wrong)?;
    if unpacked.len() > limit { Err(FetchErrorKind::TooLarge { limit }) } else { Ok(unpacked) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn unpacks_what_is_packed_and_leaves_the_rest() {
        let component = b"\0asm\x0d\0\x01\0 and so on".repeat(1000);
        for packed in [component.clone(), gzip(&component), zstd(&component)] {
            assert_eq!(unpack(&packed, LIMIT).unwrap(), component);
            assert_eq!(unpack(&packed, component.len()).unwrap(), component);
        }
        assert_eq!(unpack(b"", LIMIT).unwrap(), b"");
    }

    #[test]
    fn unpacks_what_the_zstd_program_packs() {
        assert_eq!(unpack(include_bytes!("testdata/hello.zst"), LIMIT).unwrap(), b"hello\n");
    }

    #[test]
    fn stops_at_the_limit() {
        let large = vec![0; 100 * LIMIT];
        for packed in [vec![0; LIMIT + 1], gzip(&large), zstd(&large)] {
            let error = unpack(&packed, LIMIT).unwrap_err().to_string();
            assert_eq!(error, "it has more than 1048576 bytes (injectors[].limits.componentMiB)");
        }
    }

    #[test]
    fn refuses_a_window_of_more_memory_than_the_limit() {
        // The header alone: a window of 1 GiB.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x01, 0x00, 0x00];
        let error = unpack(&frame, LIMIT).unwrap_err().to_string();
        assert!(error.starts_with("it cannot be unpacked as zstd: "), "{error}");
    }

    #[test]
    fn refuses_what_is_cut_short_or_changed() {
        let component = (0..10_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
        for (format, packed) in [("gzip", gzip(&component)), ("zstd", zstd(&component))] {
            for broken in [&packed[..packed.len() / 2], &packed[..6]] {
                let error = unpack(broken, LIMIT).unwrap_err().to_string();
                assert!(error.starts_with(&format!("it cannot be unpacked as {format}: ")), "{error}");
            }
        }
        let mut changed = gzip(&component);
        let last = changed.len() - 5;
        changed[last] ^= 1;
        assert!(unpack(&changed, LIMIT).is_err());
    }
}
