//! Short, printable excerpts of untrusted text, for error messages.
//!
//! An annotation may be 256 KiB of anything; a message repeats 40 characters of it and never a control character.

/// How many bytes of a name a message repeats: a Kubernetes name has 253 at most, the name of a secret in a cloud rarely more.
const NAME: usize = 256;

/// How many characters of its input a message repeats: enough to recognise a Kubernetes name.
const LIMIT: usize = 40;

/// The start of `bytes`, with what is not printable escaped and quotes left alone.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let mut printable = String::new();
    shorten(bytes).chars().for_each(|character| push(character, &mut printable));
    printable
}

/// A name, with what is not printable escaped and quotes left alone: 256 bytes of it, and an ellipsis where there were more.
pub(crate) fn name(name: &str) -> String {
    let mut printable = String::new();
    for character in name.chars() {
        let before = printable.len();
        push(character, &mut printable);
        if printable.len() > NAME {
            printable.truncate(before);
            printable.push('…');
            break;
        }
    }
    printable
}

fn push(character: char, printable: &mut String) {
    match character {
        '"' | '\'' | '\\' => printable.push(character),
        _ => printable.extend(character.escape_debug()),
    }
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
    fn a_name_may_be_longer_and_is_as_harmless() {
        assert_eq!(name("arn:aws:x/\"é\""), "arn:aws:x/\"é\"");
        assert_eq!(name("a\nb\u{1b}[0m\u{202e}"), r"a\nb\u{1b}[0m\u{202e}");
        assert_eq!(name(&"a".repeat(256)), "a".repeat(256));
        assert_eq!(name(&"a".repeat(257)), format!("{}…", "a".repeat(256)));
        assert_eq!(name(&"🔑".repeat(999)), format!("{}…", "🔑".repeat(64)));
        assert_eq!(name(&"\u{1b}".repeat(999)), format!("{}…", r"\u{1b}".repeat(42)));
    }

    #[test]
    fn cuts_what_is_long_between_two_characters() {
        check(&[b'a'; 40], &"a".repeat(40), &format!("\"{}\"", "a".repeat(40)));
        check(&[b'a'; 41], &format!("{}…", "a".repeat(40)), &format!("\"{}…\"", "a".repeat(40)));
        check("🔑".repeat(9999).as_bytes(), &format!("{}…", "🔑".repeat(40)), &format!("\"{}…\"", "🔑".repeat(40)));
    }
}
