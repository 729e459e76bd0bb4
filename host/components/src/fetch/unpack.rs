//! A component in a ConfigMap, which has at most one mebibyte: uncompressed, or compressed with
//! zstd or gzip.
//!
//! The first bytes identify the format. Unpacking stops at the limit.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::error::FetchErrorKind;

/// The magic number of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The magic number of a skippable frame (RFC 8878, section 3.1.2), whose first byte has any lower
/// half.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// The magic number of gzip (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The largest window in bytes that `zstd` uses without `--long`.
const USUAL_WINDOW: u64 = 8 << 20;

/// Reads concatenated zstd frames, as `cat` and parallel compressors write them, and skips
/// skippable ones. Ruzstd's own reader stops after the first frame, and its function for all frames
/// needs the total size in advance.
struct ZstdFrames<'a> {
    rest: &'a [u8],
    decoder: FrameDecoder,
}

/// Returns the uncompressed component.
pub(super) fn unpack(bytes: &[u8], limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    if bytes.starts_with(&ZSTD) || is_skippable(bytes) {
        bounded(ZstdFrames::new(bytes, limit), limit, "zstd")
    } else if bytes.starts_with(&GZIP) {
        bounded(MultiGzDecoder::new(bytes), limit, "gzip")
    } else {
        bounded(bytes, limit, "plain data")
    }
}

fn is_skippable(bytes: &[u8]) -> bool {
    bytes
        .first_chunk()
        .is_some_and(|[first, rest @ ..]: &[u8; 4]| first & 0xf0 == SKIPPABLE[0] && *rest == SKIPPABLE[1..])
}

fn bounded(stream: impl Read, limit: usize, format: &'static str) -> Result<Vec<u8>, FetchErrorKind> {
    let mut unpacked = Vec::new();
    let read = stream.take(limit as u64 + 1).read_to_end(&mut unpacked);
    read.map_err(|error| FetchErrorKind::Unpack { format, reason: error.to_string() })?;
    if unpacked.len() > limit { Err(FetchErrorKind::TooLarge { limit }) } else { Ok(unpacked) }
}

// === impl ZstdFrames ===

impl<'a> ZstdFrames<'a> {
    fn new(rest: &'a [u8], limit: usize) -> Self {
        let mut decoder = FrameDecoder::new();
        // The decoder allocates this much memory.
        decoder.set_max_window_size(USUAL_WINDOW.max(limit as u64));
        Self { rest, decoder }
    }

    /// Starts the next frame that is not skippable. Returns whether there is one.
    fn start_next(&mut self) -> io::Result<bool> {
        while !self.rest.is_empty() {
            match self.decoder.reset(&mut self.rest) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    self.rest = self.rest.get(length as usize..).ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }

    /// Compares the checksum of the last frame, if it has one.
    fn verify_checksum(&self) -> io::Result<()> {
        let expected = self.decoder.get_checksum_from_data();
        if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
            return Err(io::Error::other("wrong checksum"));
        }
        Ok(())
    }
}

impl Read for ZstdFrames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if self.decoder.is_finished() {
                self.verify_checksum()?;
                if !self.start_next()? {
                    return Ok(0);
                }
            }
            let one = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder.decode_blocks(&mut self.rest, one).map_err(io::Error::other)?;
        }
        self.decoder.read(buffer)
    }
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
    fn unpacks_compressed_components_and_returns_others_unchanged() {
        let component = b"\0asm\x0d\0\x01\0 and so on".repeat(1000);
        for packed in [component.clone(), gzip(&component), zstd(&component)] {
            assert_eq!(unpack(&packed, LIMIT).unwrap(), component);
            assert_eq!(unpack(&packed, component.len()).unwrap(), component);
        }
        assert_eq!(unpack(b"", LIMIT).unwrap(), b"");
    }

    #[test]
    fn unpacks_output_of_the_zstd_program() {
        assert_eq!(unpack(include_bytes!("testdata/hello.zst"), LIMIT).unwrap(), b"hello\n");
    }

    #[test]
    fn refuses_a_frame_with_a_wrong_checksum() {
        let mut changed = include_bytes!("testdata/hello.zst").to_vec();
        let at = changed.windows(5).position(|part| part == b"hello").unwrap();
        changed[at] = b'j';
        let error = unpack(&changed, LIMIT).unwrap_err().to_string();
        assert_eq!(error, "the component cannot be unpacked as zstd: wrong checksum");
    }

    #[test]
    fn skips_skippable_frames() {
        let skipped = |rest: &[u8]| [&[0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], rest].concat();
        let component = b"\0asm\x0d\0\x01\0 and so on".repeat(1000);
        for packed in [skipped(&zstd(&component)), [zstd(&component), skipped(b"")].concat()] {
            assert_eq!(unpack(&packed, LIMIT).unwrap(), component);
        }
        let cut = &skipped(b"")[..9];
        assert!(unpack(cut, LIMIT).unwrap_err().to_string().starts_with("the component cannot be unpacked as zstd: "));
    }

    #[test]
    fn unpacks_concatenated_frames() {
        let component = b"\0asm\x0d\0\x01\0 and so on".repeat(1000);
        for pack in [gzip, zstd] {
            let (one, other) = component.split_at(1234);
            let packed = [pack(one), pack(b""), pack(other)].concat();
            assert_eq!(unpack(&packed, component.len()).unwrap(), component);
            let error = unpack(&packed, component.len() - 1).unwrap_err().to_string();
            assert!(error.starts_with("the component is larger than "), "{error}");
            let error = unpack(&[packed, b"garbage".to_vec()].concat(), LIMIT).unwrap_err().to_string();
            assert!(error.starts_with("the component cannot be unpacked as "), "{error}");
        }
        let twice = include_bytes!("testdata/hello.zst").repeat(2);
        assert_eq!(unpack(&twice, LIMIT).unwrap(), b"hello\nhello\n");
    }

    #[test]
    fn stops_at_the_limit() {
        let large = vec![0; 100 * LIMIT];
        for packed in [vec![0; LIMIT + 1], gzip(&large), zstd(&large)] {
            let error = unpack(&packed, LIMIT).unwrap_err().to_string();
            assert_eq!(error, "the component is larger than 1048576 bytes (injectors[].limits.componentMiB)");
        }
    }

    #[test]
    fn refuses_a_window_of_more_memory_than_the_limit() {
        // The header alone: a window of 1 GiB.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0x01, 0x00, 0x00];
        let error = unpack(&frame, LIMIT).unwrap_err().to_string();
        assert!(error.starts_with("the component cannot be unpacked as zstd: "), "{error}");
    }

    #[test]
    fn refuses_truncated_and_changed_data() {
        let component = (0..10_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
        for (format, packed) in [("gzip", gzip(&component)), ("zstd", zstd(&component))] {
            for broken in [&packed[..packed.len() / 2], &packed[..6]] {
                let error = unpack(broken, LIMIT).unwrap_err().to_string();
                assert!(error.starts_with(&format!("the component cannot be unpacked as {format}: ")), "{error}");
            }
        }
        let mut changed = gzip(&component);
        let last = changed.len() - 5;
        changed[last] ^= 1;
        assert!(unpack(&changed, LIMIT).is_err());
    }
}
