//! Rejects a file by its size and its first bytes, before anything else reads it.
//!
//! This finds most defects of a component that was copied or built in the wrong way.

use crate::error::LoadErrorKind;

/// The version field of a core module.
const CORE_MODULE: u32 = 1;

/// The version field of a component: version 13, layer 1.
const COMPONENT: u32 = 0x0001_000d;

/// Checks the first eight bytes: `\0asm`, and a version.
pub fn check(bytes: &[u8], limit: usize) -> Result<(), LoadErrorKind> {
    if bytes.is_empty() {
        return Err(LoadErrorKind::Empty);
    }
    if bytes.len() > limit {
        return Err(LoadErrorKind::TooLarge { size: bytes.len(), limit });
    }
    let Some((b"\0asm", rest)) = bytes.split_first_chunk::<4>() else {
        return Err(LoadErrorKind::NotWasm);
    };
    match rest.first_chunk().map(|version| u32::from_le_bytes(*version)) {
        Some(COMPONENT) => Ok(()),
        Some(CORE_MODULE) => Err(LoadErrorKind::CoreModule),
        version => Err(LoadErrorKind::UnknownFormat(version.unwrap_or_default())),
    }
}
