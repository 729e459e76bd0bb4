//! Short, printable excerpts of untrusted text, for error messages.
//!
//! An annotation may be 256 KiB of anything; a message repeats 40 characters of it and never a control character.

/// How many characters of its input a message repeats: enough to recognise a Kubernetes name.
const LIMIT: usize = 40;

/// The start of `bytes`, with what is not printable escaped and quotes left alone.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let mut printable = String::new();
    for character in shorten(bytes).chars() {
        match character {
            '"' | '\'' | '\\' => printable.push(character),
            _ => printable.extend(character.escape_debug()),
        }
    }
    printable
}

/// The start of `bytes` in double quotes, with quotes and what is not printable escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    format!("{:?}", shorten(bytes))
}

/// At most [`LIMIT`] characters, and an ellipsis where there were more.
fn shorten(bytes: &[u8]) -> String {
    // No character is longer than four bytes, and one more shows whether any is left out.
    let start = &bytes[..bytes.len().min(4 * (LIMIT + 1))];
    let text = String::from_utf8_lossy(start);
    match text.char_indices().nth(LIMIT) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], in_plain: &str, in_quotes: &str) {
        assert_eq!(plain(bytes), in_plain);
        assert_eq!(quoted(bytes), in_quotes);
    }

    #[test]
    fn keeps_what_is_short_and_printable() {
        check(b"", "", r#""""#);
        check(b"foo", "foo", r#""foo""#);
        check("clé".as_bytes(), "clé", r#""clé""#);
        check(b"'a' \"b\" \\", r#"'a' "b" \"#, r#""'a' \"b\" \\""#);
    }

    #[test]
    fn escapes_what_a_terminal_or_a_log_would_act_on() {
        check(b"\n\x1b[0m", r"\n\u{1b}[0m", r#""\n\u{1b}[0m""#);
        check("\u{202e}x".as_bytes(), r"\u{202e}x", r#""\u{202e}x""#);
        check(b"\xff", "\u{fffd}", "\"\u{fffd}\"");
    }

    #[test]
    fn cuts_what_is_long_between_two_characters() {
        check(&[b'a'; 40], &"a".repeat(40), &format!("\"{}\"", "a".repeat(40)));
        check(&[b'a'; 41], &format!("{}…", "a".repeat(40)), &format!("\"{}…\"", "a".repeat(40)));
        check("🔑".repeat(9999).as_bytes(), &format!("{}…", "🔑".repeat(40)), &format!("\"{}…\"", "🔑".repeat(40)));
    }
}
