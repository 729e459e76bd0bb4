//! Flyte's base32: `a` to `z`, then `1` to `6`, without padding. This is not the alphabet of RFC
//! 4648.
//!
//! The decoder accepts the same input as Go's `encoding/base32`: it drops a partial last group of a
//! length that no encoder produces, ignores excess bits at the end, and skips line breaks, which do
//! not count in the position of an error either.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

static FLYTE: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz123456");
    specification.check_trailing_bits = false;
    specification.encoding().expect("32 distinct ASCII symbols make an alphabet")
});

/// Eight symbols of five bits hold five bytes.
const GROUP_SYMBOLS: usize = 8;
const GROUP_BYTES: usize = 5;

/// The position of a byte outside the alphabet, not counting line breaks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal base32 data at input byte {0}")]
pub(super) struct IllegalByte(usize);

/// Decodes the value of an annotation. An empty value is an empty text.
pub(super) fn decode(value: &str) -> Result<Vec<u8>, IllegalByte> {
    let mut symbols = Vec::with_capacity(value.len() + 1);
    symbols.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    let whole_groups = symbols.len() / GROUP_SYMBOLS;
    let drops_last_group = matches!(symbols.len() % GROUP_SYMBOLS, 1 | 3 | 6);
    if drops_last_group {
        // One more symbol gives a valid length, so that the dropped symbols are still checked.
        symbols.push(b'a');
    }
    let mut bytes = FLYTE.decode(&symbols).map_err(|error| IllegalByte(error.position))?;
    if drops_last_group {
        bytes.truncate(whole_groups * GROUP_BYTES);
    }
    Ok(bytes)
}

/// Encodes a text as the value of an annotation.
pub(super) fn encode(text: &[u8]) -> String {
    FLYTE.encode(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(value: &str, expected: Result<&[u8], &str>) {
        let actual = decode(value).map_err(|error| error.to_string());
        assert_eq!(actual.as_deref().map_err(String::as_str), expected, "{value:?}");
    }

    #[test]
    fn decodes_every_whole_and_partial_group() {
        check("", Ok(b""));
        check("oe", Ok(b"q"));
        check("ofzq", Ok(b"qs"));
        check("ovzwk", Ok(b"use"));
        check("ovzwk3q", Ok(b"user"));
        check("ovzwk3rn", Ok(b"user-"));
        check("ovzwk3rnnfxgm216", Ok(b"user-info_"));
        check("66666666", Ok(&[0xff; 5]));
    }

    #[test]
    fn drops_a_partial_group_that_no_encoder_produces() {
        check("o", Ok(b""));
        check("oez", Ok(b""));
        check("ovzwk3", Ok(b""));
        check("ovzwk3rno", Ok(b"user-"));
        check("ovzwk3rnoez", Ok(b"user-"));
        check("ovzwk3rnovzwk3", Ok(b"user-"));
    }

    #[test]
    fn ignores_excess_bits_at_the_end() {
        check("aa", Ok(&[0]));
        check("ab", Ok(&[0]));
        check("ah", Ok(&[1]));
        check("ofzr", Ok(b"qs"));
        check("ovzwl", Ok(b"use"));
        check("ovzwk3r", Ok(b"user"));
    }

    #[test]
    fn skips_line_breaks_before_counting_the_group() {
        check("\r\n", Ok(b""));
        check("\nov\r\nzwk3\rrn\n", Ok(b"user-"));
        check("ovzwk3rn\n", Ok(b"user-"));
        check("ovzwk3rnoe\n", Ok(b"user-q"));
        check("ovzwk3rnoe\nz", Ok(b"user-"));
    }

    #[test]
    fn refuses_a_byte_outside_the_alphabet_and_names_its_position() {
        check("A", Err("illegal base32 data at input byte 0"));
        check("ovzwk3r=", Err("illegal base32 data at input byte 7"));
        check("oe======", Err("illegal base32 data at input byte 2"));
        check("ov zwk", Err("illegal base32 data at input byte 2"));
        check("ovzwk3rn0", Err("illegal base32 data at input byte 8"));
        check("ovzwk3rna7", Err("illegal base32 data at input byte 9"));
        check("8vzwk3rn9", Err("illegal base32 data at input byte 0"));
        check("oé", Err("illegal base32 data at input byte 1"));
        check("ovzwk3\t", Err("illegal base32 data at input byte 6"));
    }

    #[test]
    fn counts_the_position_without_line_breaks() {
        check("\n\nA", Err("illegal base32 data at input byte 0"));
        check("ov\r\nzw\r\n9", Err("illegal base32 data at input byte 4"));
    }

    #[test]
    fn checks_the_symbols_of_a_group_that_it_drops() {
        check("ovzwk3rn7", Err("illegal base32 data at input byte 8"));
        check("ovzwk3rnoe=", Err("illegal base32 data at input byte 10"));
        check("ovzw73", Err("illegal base32 data at input byte 4"));
    }

    #[test]
    fn decodes_the_rfc_alphabet_to_a_different_text() {
        // A fixture of Flyte v1: `key:"my_key" ` in the alphabet of RFC 4648, invalid UTF-8 here.
        check("nnsxsorcnv4v623fperca", Ok(b"key:\"m{_\xef\x85y\" "));
        check("nnsxsorcnv7v623fperca", Err("illegal base32 data at input byte 10"));
    }

    proptest! {
        #[test]
        fn decodes_its_own_output(text: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&text)), Ok(text));
        }

        #[test]
        fn never_panics(value: String) {
            let _ = decode(&value);
        }

        #[test]
        fn accepts_every_length_of_its_alphabet(value in "[a-z1-6]{0,40}") {
            let bytes = decode(&value).unwrap();
            let whole = value.len() * 5 / 8;
            prop_assert!(bytes.len() == whole || matches!(value.len() % 8, 1 | 3 | 6));
        }
    }
}
