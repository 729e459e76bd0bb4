//! Trims, cleans and escapes untrusted text for messages, logs and Kubernetes fields.
//!
//! Guests, registries and pod authors can send megabytes of text with line breaks, terminal escapes
//! and marks that change the reading direction. All functions that bound or clean such text are
//! here. They differ in three ways:
//!
//! | function | limit | unprintable characters | mark of a cut |
//! | --- | --- | --- | --- |
//! | [`prefix`] | bytes | kept | none |
//! | [`first_chars`] | characters | kept | none |
//! | [`truncate`] | bytes | kept | the caller's |
//! | [`printable`] | none | become spaces | – |
//! | [`clean`] | bytes | become spaces | `…` |
//! | [`clean_chars`] | characters | become spaces | `…` |
//! | [`lines`] | bytes | become spaces, line breaks are kept | `…` |
//! | [`one_line`] | bytes | become spaces, white space is collapsed | `…` |
//! | [`escape`] | 40 characters | escaped | `…` |
//! | [`quote`] | 40 characters | escaped, in double quotes | `…` |
//! | [`escape_name`] | 256 bytes | escaped | `…` |

use std::borrow::Cow;

/// Maximum length of a name in a message, in bytes. Kubernetes names have at most 253 bytes, and
/// names of secrets in a cloud are rarely longer.
const MAX_NAME: usize = 256;

/// Maximum length of an excerpt in a message, in characters: enough to recognise a Kubernetes name.
const MAX_EXCERPT: usize = 40;

/// Replaces the part of a text that was cut off.
const ELLIPSIS: char = '…';

/// Returns the longest prefix of at most `max_bytes` bytes that ends at a character boundary.
#[must_use]
pub fn prefix(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Returns the first `max_chars` characters of a text.
#[must_use]
pub fn first_chars(text: &str, max_chars: usize) -> &str {
    match text.char_indices().nth(max_chars) {
        None => text,
        Some((end, _)) => &text[..end],
    }
}

/// Cuts a text to at most `max_bytes` bytes and appends `mark` if anything was cut.
///
/// The mark counts towards the limit. A limit below the length of the mark yields the mark alone.
#[must_use]
pub fn truncate<'a>(text: &'a str, max_bytes: usize, mark: &str) -> Cow<'a, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let kept = prefix(text, max_bytes.saturating_sub(mark.len()));
    Cow::Owned(format!("{kept}{mark}"))
}

/// Replaces unprintable characters by spaces and cuts the text to at most `max_bytes` bytes.
///
/// An ellipsis replaces the part that was cut; it counts towards the limit. White space keeps its
/// width: see [`one_line`] for text with line breaks.
#[must_use]
pub fn clean(text: &str, max_bytes: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(max_bytes));
    for character in text.chars().map(printable_or_space) {
        if cleaned.len() + character.len_utf8() > max_bytes {
            let kept = prefix(&cleaned, max_bytes.saturating_sub(ELLIPSIS.len_utf8())).len();
            cleaned.truncate(kept);
            cleaned.push(ELLIPSIS);
            return cleaned;
        }
        cleaned.push(character);
    }
    cleaned
}

/// Replaces unprintable characters by spaces and cuts the text to at most `max_chars` characters.
///
/// An ellipsis replaces the part that was cut; it counts towards the limit. For limits that are
/// defined in characters, such as that of a warning in an `AdmissionReview`.
#[must_use]
pub fn clean_chars(text: &str, max_chars: usize) -> String {
    let is_cut = text.chars().nth(max_chars).is_some();
    let kept = if is_cut { first_chars(text, max_chars.saturating_sub(1)) } else { text };
    kept.chars().map(printable_or_space).chain(is_cut.then_some(ELLIPSIS)).collect()
}

/// Joins the words of a text with single spaces, and cleans the result as [`clean`] does.
#[must_use]
pub fn one_line(text: &str, max_bytes: usize) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    clean(&line, max_bytes)
}

/// Cleans each line of a text as [`clean`] does, and drops empty lines. A tab becomes four spaces.
/// The result has at most `max_bytes` bytes.
#[must_use]
pub fn lines(text: &str, max_bytes: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(max_bytes));
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if !cleaned.is_empty() {
            cleaned.push('\n');
        }
        cleaned.push_str(&printable(&line.replace('\t', "    ")));
    }
    truncate(&cleaned, max_bytes, "…").into_owned()
}

/// Returns the start of `bytes`, with unprintable characters escaped and quotes unchanged.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut escaped = String::new();
    for character in excerpt(bytes).chars() {
        push_escaped(character, &mut escaped);
    }
    escaped
}

/// Returns the start of `bytes` in double quotes, with quotes and unprintable characters escaped.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    format!("{:?}", excerpt(bytes))
}

/// Returns a name of at most 256 bytes, with unprintable characters escaped and quotes unchanged.
///
/// The limit counts the escaped text. An ellipsis follows it if the name was cut.
#[must_use]
pub fn escape_name(name: &str) -> String {
    let mut escaped = String::new();
    for character in name.chars() {
        let before = escaped.len();
        push_escaped(character, &mut escaped);
        if escaped.len() > MAX_NAME {
            escaped.truncate(before);
            escaped.push(ELLIPSIS);
            break;
        }
    }
    escaped
}

fn push_escaped(character: char, escaped: &mut String) {
    match character {
        '"' | '\'' | '\\' => escaped.push(character),
        _ => escaped.extend(character.escape_debug()),
    }
}

/// Returns at most [`MAX_EXCERPT`] characters, with an ellipsis if there are more.
fn excerpt(bytes: &[u8]) -> String {
    // A character has at most four bytes; one more character shows whether any is left out.
    let start = &bytes[..bytes.len().min(4 * (MAX_EXCERPT + 1))];
    let text = String::from_utf8_lossy(start);
    match text.char_indices().nth(MAX_EXCERPT) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}{ELLIPSIS}", &text[..end]),
    }
}

/// Replaces unprintable characters by spaces, without a limit.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        return Cow::Owned(text.chars().map(printable_or_space).collect());
    }
    Cow::Borrowed(text)
}

fn printable_or_space(character: char) -> char {
    if is_unprintable(character) { ' ' } else { character }
}

/// Whether a character is a control character, a line separator, or a mark that changes the reading
/// direction.
#[must_use]
pub fn is_unprintable(character: char) -> bool {
    const DIRECTION_MARKS: [std::ops::RangeInclusive<char>; 3] =
        ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}')
        || DIRECTION_MARKS.iter().any(|marks| marks.contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_excerpt(bytes: &[u8], escaped: &str, quoted: &str) {
        assert_eq!(escape(bytes), escaped);
        assert_eq!(quote(bytes), quoted);
    }

    #[test]
    fn prefixes_end_at_a_character_boundary() {
        for (text, max_bytes, expected) in
            [("", 2, ""), ("ab", 2, "ab"), ("abc", 2, "ab"), ("aäb", 2, "a"), ("ä", 0, "")]
        {
            assert_eq!(prefix(text, max_bytes), expected, "{text:?} in {max_bytes} bytes");
        }
        for (text, max_chars, expected) in [("", 2, ""), ("äö", 2, "äö"), ("äöü", 2, "äö"), ("ä", 0, "")] {
            assert_eq!(first_chars(text, max_chars), expected, "{text:?} in {max_chars} characters");
        }
    }

    #[test]
    fn truncation_marks_a_cut_within_the_limit() {
        for (text, max_bytes, expected) in
            [("exactly8", 8, "exactly8"), ("nine char", 8, "nine …"), ("äääää", 8, "ää…")]
        {
            assert_eq!(truncate(text, max_bytes, "…"), expected, "{text:?} in {max_bytes} bytes");
        }
        assert!(matches!(truncate("short", 5, "…"), Cow::Borrowed("short")));
        assert_eq!(truncate("a long text", 4, " (cut)"), " (cut)");
    }

    #[test]
    fn cleaning_replaces_unprintable_characters_and_cuts() {
        let cases = [
            ("", 8, ""),
            ("plain", 8, "plain"),
            ("exactly8", 8, "exactly8"),
            ("nine char", 8, "nine …"),
            ("a\nb\tc\u{1b}[31m", 32, "a b c [31m"),
            ("right\u{202e}left", 32, "right left"),
            ("a\u{200e}b\u{200f}c\u{2028}d\u{2029}e\u{202a}f\u{2066}g\u{2069}h", 32, "a b c d e f g h"),
            ("ääää", 8, "ääää"),
            ("äääää", 8, "ää…"),
            ("ab", 1, "…"),
        ];
        for (text, max_bytes, expected) in cases {
            assert_eq!(clean(text, max_bytes), expected, "{text:?} in {max_bytes} bytes");
        }
    }

    #[test]
    fn cleaning_by_characters_counts_no_bytes() {
        for (text, max_chars, expected) in [
            ("", 4, ""),
            ("ääää", 4, "ääää"),
            ("äääää", 4, "äää…"),
            ("a\nb", 4, "a b"),
            ("\u{1b}\u{1b}\u{1b}", 2, " …"),
        ] {
            assert_eq!(clean_chars(text, max_chars), expected, "{text:?} in {max_chars} characters");
        }
    }

    #[test]
    fn one_line_collapses_white_space() {
        assert_eq!(one_line("line 1\n  line 2 \u{1b}[31mred\t!", 64), "line 1 line 2  [31mred !");
        assert_eq!(one_line(" \n ", 64), "");
        assert_eq!(one_line("a long\nline", 8), "a lon…");
    }

    #[test]
    fn lines_keep_line_breaks_and_indentation() {
        assert_eq!(lines("TypeError: no\r\n\tat x\u{1b}[31m\n\n  at y \n", 64), "TypeError: no\n    at x [31m\n  at y");
        assert_eq!(lines("a long\nline", 8), "a lon…");
    }

    #[test]
    fn excerpts_keep_short_printable_text() {
        check_excerpt(b"", "", r#""""#);
        check_excerpt(b"foo", "foo", r#""foo""#);
        check_excerpt("clé".as_bytes(), "clé", r#""clé""#);
        check_excerpt(b"'a' \"b\" \\", r#"'a' "b" \"#, r#""'a' \"b\" \\""#);
    }

    #[test]
    fn excerpts_escape_what_a_terminal_or_a_log_would_interpret() {
        check_excerpt(b"\n\x1b[0m", r"\n\u{1b}[0m", r#""\n\u{1b}[0m""#);
        check_excerpt("\u{202e}x".as_bytes(), r"\u{202e}x", r#""\u{202e}x""#);
        check_excerpt(b"\xff", "\u{fffd}", "\"\u{fffd}\"");
    }

    #[test]
    fn excerpts_are_cut_between_two_characters() {
        let forty = "a".repeat(40);
        check_excerpt(&[b'a'; 40], &forty, &format!("\"{forty}\""));
        check_excerpt(&[b'a'; 41], &format!("{forty}…"), &format!("\"{forty}…\""));
        let keys = "🔑".repeat(40);
        check_excerpt("🔑".repeat(9999).as_bytes(), &format!("{keys}…"), &format!("\"{keys}…\""));
    }

    #[test]
    fn names_may_be_longer_than_excerpts() {
        assert_eq!(escape_name("arn:aws:x/\"é\""), "arn:aws:x/\"é\"");
        assert_eq!(escape_name("a\nb\u{1b}[0m\u{202e}"), r"a\nb\u{1b}[0m\u{202e}");
        assert_eq!(escape_name(&"a".repeat(256)), "a".repeat(256));
        assert_eq!(escape_name(&"a".repeat(257)), format!("{}…", "a".repeat(256)));
        assert_eq!(escape_name(&"🔑".repeat(999)), format!("{}…", "🔑".repeat(64)));
        assert_eq!(escape_name(&"\u{1b}".repeat(999)), format!("{}…", r"\u{1b}".repeat(42)));
    }
}
