//! Escapes in a quoted string of the text format, with the rules of Go's protobuf package.
//!
//! The value is a byte string. A literal without escapes may contain any bytes. A literal with an
//! escape must be UTF-8, but the bytes that its escapes produce need not be.

use std::iter;

use crate::text;

/// Errors inside a literal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LiteralError {
    #[error("proto: bad UTF-8")]
    NotUtf8,
    #[error("\\{letter} requires {count} following digits")]
    TooShort { letter: char, count: usize },
    #[error("\\{} contains non-octal digits", text::escape(.0.as_bytes()))]
    NotOctal(String),
    #[error("\\{} contains non-hexadecimal digits", text::escape(.0.as_bytes()))]
    NotHexadecimal(String),
    #[error("\\{0} is not a valid Unicode code point")]
    NotACodePoint(String),
    #[error("unknown escape \\{}", .0.escape_debug())]
    Unknown(char),
}

/// Appends the value of a literal. `body` is the text between the quotes.
pub(super) fn unescape(body: &[u8], value: &mut Vec<u8>) -> Result<(), LiteralError> {
    if !body.contains(&b'\\') {
        value.extend_from_slice(body);
        return Ok(());
    }
    let mut rest = std::str::from_utf8(body).map_err(|_| LiteralError::NotUtf8)?;
    while let Some((before, escape)) = rest.split_once('\\') {
        value.extend_from_slice(before.as_bytes());
        rest = read_escape(escape, value)?;
    }
    value.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// Reads one escape, without its backslash, and returns the rest of the text.
fn read_escape<'a>(escape: &'a str, value: &mut Vec<u8>) -> Result<&'a str, LiteralError> {
    let mut characters = escape.chars();
    let letter = characters.next().unwrap_or(char::REPLACEMENT_CHARACTER);
    let rest = characters.as_str();
    let byte = match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '?' => b'?',
        '\'' => b'\'',
        '"' => b'"',
        '\\' => b'\\',
        '0'..='7' => return octal(letter, escape, value),
        'x' | 'X' => return hexadecimal_byte(letter, rest, value),
        'u' => return code_point(letter, rest, 4, value),
        'U' => return code_point(letter, rest, 8, value),
        _ => return Err(LiteralError::Unknown(letter)),
    };
    value.push(byte);
    Ok(rest)
}

/// Reads `\ooo`, whose first digit is `letter`: exactly three digits, at most `\377`.
fn octal<'a>(letter: char, digits: &'a str, value: &mut Vec<u8>) -> Result<&'a str, LiteralError> {
    if digits.len() < 3 {
        return Err(LiteralError::TooShort { letter, count: 2 });
    }
    let (byte, rest) = digits
        .split_at_checked(3)
        .and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 8).ok()?, rest)))
        .ok_or_else(|| LiteralError::NotOctal(digits.chars().take(3).collect()))?;
    value.push(byte);
    Ok(rest)
}

/// Reads `\xHH`, which is a byte and not a character.
fn hexadecimal_byte<'a>(letter: char, digits: &'a str, value: &mut Vec<u8>) -> Result<&'a str, LiteralError> {
    let (digits, rest) = hexadecimal(letter, digits, 2)?;
    let byte = u8::from_str_radix(digits, 16).expect("two hexadecimal digits are a byte");
    value.push(byte);
    Ok(rest)
}

/// Reads `\uHHHH` or `\UHHHHHHHH`. Half of a surrogate pair becomes U+FFFD, as in Go's conversion
/// from a rune.
fn code_point<'a>(letter: char, digits: &'a str, count: usize, value: &mut Vec<u8>) -> Result<&'a str, LiteralError> {
    let (digits, rest) = hexadecimal(letter, digits, count)?;
    let number = u32::from_str_radix(digits, 16).expect("at most eight hexadecimal digits are a u32");
    if number > u32::from(char::MAX) {
        return Err(LiteralError::NotACodePoint(format!("{letter}{digits}")));
    }
    let character = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
    value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(rest)
}

/// Splits off `count` hexadecimal digits. Rust's integer parser would accept a sign.
fn hexadecimal(letter: char, digits: &str, count: usize) -> Result<(&str, &str), LiteralError> {
    if digits.len() < count {
        return Err(LiteralError::TooShort { letter, count });
    }
    match digits.split_at_checked(count) {
        Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok((digits, rest)),
        _ => Err(LiteralError::NotHexadecimal(iter::once(letter).chain(digits.chars().take(count)).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], expected: Result<&[u8], &str>) {
        let mut value = Vec::new();
        let actual = unescape(body, &mut value).map(|()| value).map_err(|error| error.to_string());
        assert_eq!(actual.as_deref().map_err(String::as_str), expected, "{}", body.escape_ascii());
    }

    #[test]
    fn keeps_unescaped_bytes() {
        check(b"", Ok(b""));
        check(b"user-info # ; : }", Ok(b"user-info # ; : }"));
        check("clé".as_bytes(), Ok("clé".as_bytes()));
        check(b"\xff\x00\x80", Ok(b"\xff\x00\x80"));
    }

    #[test]
    fn reads_every_escape() {
        check(br"\a\b\f\n\r\t\v", Ok(b"\x07\x08\x0c\n\r\t\x0b"));
        check(br#"\?\'\"\\"#, Ok(br#"?'"\"#));
        check(br"\000\101\377\3032", Ok(b"\0A\xff\xc32"));
        check(br"\x41\XFf\x4a1", Ok(b"A\xffJ1"));
        check(br"\u00e9\u00E9", Ok("éé".as_bytes()));
        check(br"\U0001F5111", Ok("🔑1".as_bytes()));
        check(br"\U0010ffff", Ok("\u{10ffff}".as_bytes()));
        check(br"a\nb\\nc", Ok(b"a\nb\\nc"));
    }

    #[test]
    fn reads_half_of_a_surrogate_pair_as_the_replacement_character() {
        check(br"\ud800", Ok("\u{fffd}".as_bytes()));
        check(br"\U0000dfff.", Ok("\u{fffd}.".as_bytes()));
    }

    #[test]
    fn refuses_an_escape_that_is_too_short() {
        check(br"\0", Err(r"\0 requires 2 following digits"));
        check(br"\12", Err(r"\1 requires 2 following digits"));
        check(br"\x4", Err(r"\x requires 2 following digits"));
        check(br"\X", Err(r"\X requires 2 following digits"));
        check(br"\u00e", Err(r"\u requires 4 following digits"));
        check(br"\U0001f51", Err(r"\U requires 8 following digits"));
    }

    #[test]
    fn refuses_digits_of_another_base() {
        check(br"\0ab", Err(r"\0ab contains non-octal digits"));
        check(br"\018", Err(r"\018 contains non-octal digits"));
        check(br"\400", Err(r"\400 contains non-octal digits"));
        check(br"\xzz", Err(r"\xzz contains non-hexadecimal digits"));
        check(br"\x+1", Err(r"\x+1 contains non-hexadecimal digits"));
        check(br"\u-001", Err(r"\u-001 contains non-hexadecimal digits"));
        check(br"\u0_01", Err(r"\u0_01 contains non-hexadecimal digits"));
        check(b"\\x\n1", Err(r"\x\n1 contains non-hexadecimal digits"));
    }

    #[test]
    fn never_splits_a_character() {
        check("\\xaé".as_bytes(), Err(r"\xaé contains non-hexadecimal digits"));
        check("\\1€".as_bytes(), Err(r"\1€ contains non-octal digits"));
        check("\\u12€".as_bytes(), Err(r"\u12€ contains non-hexadecimal digits"));
    }

    #[test]
    fn refuses_a_number_above_the_last_code_point() {
        check(br"\U00110000", Err(r"\U00110000 is not a valid Unicode code point"));
        check(br"\Uffffffff", Err(r"\Uffffffff is not a valid Unicode code point"));
    }

    #[test]
    fn refuses_an_unknown_escape() {
        check(br"\q", Err(r"unknown escape \q"));
        check(br"\8", Err(r"unknown escape \8"));
        check(br"\N", Err(r"unknown escape \N"));
        check("\\é".as_bytes(), Err(r"unknown escape \é"));
        check(b"\\\n", Err(r"unknown escape \\n"));
    }

    #[test]
    fn refuses_invalid_utf_8_next_to_an_escape() {
        check(b"\\n\xff", Err("proto: bad UTF-8"));
    }
}
