//! A component as it stands in a ConfigMap, which holds a mebibyte: plain, or packed with zstd or gzip.
//!
//! Which of them, its first bytes say; that it unpacks to no more than the limit is seen while it is unpacked.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::error::FetchErrorKind;

/// RFC 8878, section 3.1.1.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The same, section 3.1.2, but for the lower half of its first byte, which may be anything.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What `zstd` keeps of what it unpacks, but with `--long`.
const USUAL_WINDOW: u64 = 8 << 20;

/// Frames of zstd one behind the other, as `cat` and parallel packers leave them, some to be skipped. (Ruzstd's own reader stops after the
/// first, and what reads them all wants to know how much there is.)
struct Frames<'a> {
    rest: &'a [u8],
    decoder: FrameDecoder,
}

/// Unpacks what is packed.
pub(super) fn unpack(bytes: &[u8], limit: usize) -> Result<Vec<u8>, FetchErrorKind> {
    if bytes.starts_with(&ZSTD) || is_skippable(bytes) {
        bounded(Frames::new(bytes, limit), limit, "zstd")
    } else if bytes.starts_with(&GZIP) {
        bounded(MultiGzDecoder::new(bytes), limit, "gzip")
    } else {
        bounded(bytes, limit, "it stands")
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

// === impl Frames ===

impl<'a> Frames<'a> {
    fn new(rest: &'a [u8], limit: usize) -> Self {
        let mut decoder = FrameDecoder::new();
        // It takes that much memory.
        decoder.set_max_window_size(USUAL_WINDOW.max(limit as u64));
        Self { rest, decoder }
    }

    /// Begins the next frame that holds something; none if there is no further one.
    fn begin(&mut self) -> io::Result<Option<()>> {
        let Self { rest, decoder } = self;
        while !rest.is_empty() {
            match decoder.reset(&mut *rest) {
                Ok(()) => return Ok(Some(())),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    *rest = rest.get(length as usize..).ok_or(io::ErrorKind::UnexpectedEof)?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(None)
    }

    /// Compares the checksum of the last frame, where it has one.
    fn check(&self) -> io::Result<()> {
        let Self { decoder, .. } = self;
        match decoder.get_checksum_from_data() {
            Some(said) if decoder.get_calculated_checksum() != Some(said) => {
                Err(io::Error::other("the checksum is another's"))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if self.decoder.is_finished() {
                self.check()?;
                if self.begin()?.is_none() {
                    return Ok(0);
                }
            }
            let Self { rest, decoder } = self;
            decoder.decode_blocks(&mut *rest, BlockDecodingStrategy::UptoBlocks(1)).map_err(io::Error::other)?;
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
    fn refuses_a_frame_whose_checksum_is_anothers() {
        let mut changed = include_bytes!("testdata/hello.zst").to_vec();
        let at = changed.windows(5).position(|part| part == b"hello").unwrap();
        changed[at] = b'j';
        let error = unpack(&changed, LIMIT).unwrap_err().to_string();
        assert_eq!(error, "it cannot be unpacked as zstd: the checksum is another's");
    }

    #[test]
    fn skips_what_a_packer_left_for_itself() {
        let skipped = |rest: &[u8]| [&[0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], rest].concat();
        let component = b"\0asm\x0d\0\x01\0 and so on".repeat(1000);
        for packed in [skipped(&zstd(&component)), [zstd(&component), skipped(b"")].concat()] {
            assert_eq!(unpack(&packed, LIMIT).unwrap(), component);
        }
        let cut = &skipped(b"")[..9];
        assert!(unpack(cut, LIMIT).unwrap_err().to_string().starts_with("it cannot be unpacked as zstd: "));
    }

    #[test]
    fn unpacks_all_of_what_was_packed_in_pieces() {
        let component = b"\0asm\x0d\0\x01\0 and so on".repeat(1000);
        for pack in [gzip, zstd] {
            let (one, other) = component.split_at(1234);
            let packed = [pack(one), pack(b""), pack(other)].concat();
            assert_eq!(unpack(&packed, component.len()).unwrap(), component);
            let error = unpack(&packed, component.len() - 1).unwrap_err().to_string();
            assert!(error.starts_with("it has more than "), "{error}");
            let error = unpack(&[packed, b"garbage".to_vec()].concat(), LIMIT).unwrap_err().to_string();
            assert!(error.starts_with("it cannot be unpacked as "), "{error}");
        }
        let twice = include_bytes!("testdata/hello.zst").repeat(2);
        assert_eq!(unpack(&twice, LIMIT).unwrap(), b"hello\nhello\n");
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
