//! What a file is, by its size and its first bytes, before anything else of it is looked at.
//!
//! Most of what is wrong with a component that was copied or built in the wrong way shows here.

use crate::error::LoadErrorKind;

/// The first eight bytes say what a file is: `\0asm`, then a version, which is 1 for a core module and 13 with a layer of 1
/// for a component.
pub(crate) fn check(bytes: &[u8], limit: usize) -> Result<(), LoadErrorKind> {
    const CORE_MODULE: u32 = 1;
    const COMPONENT: u32 = 0x0001_000d;
    if bytes.is_empty() {
        return Err(LoadErrorKind::Empty);
    }
    if bytes.len() > limit {
        return Err(LoadErrorKind::TooLarge { size: bytes.len(), limit });
    }
    match bytes.split_first_chunk::<4>() {
        Some((b"\0asm", rest)) => match rest.first_chunk().map(|version| u32::from_le_bytes(*version)) {
            Some(COMPONENT) => Ok(()),
            Some(CORE_MODULE) => Err(LoadErrorKind::CoreModule),
            version => Err(LoadErrorKind::UnknownFormat(version.unwrap_or_default())),
        },
        _ => Err(LoadErrorKind::NotWasm),
    }
}
