//! [`clean`]: makes text of a guest fit for a message or a log line.
//!
//! The text of an untrusted guest may have line breaks, terminal control sequences and any length.

/// Replaces control characters by spaces, and cuts the text to `max` bytes at a character boundary.
/// `…` marks the cut.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let c = if is_unprintable(c) { ' ' } else { c };
        if cleaned.len() + c.len_utf8() > max {
            let keep = cleaned.floor_char_boundary(max.saturating_sub(ELLIPSIS.len_utf8()));
            cleaned.truncate(keep);
            cleaned.push(ELLIPSIS);
            return cleaned;
        }
        cleaned.push(c);
    }
    cleaned
}

const ELLIPSIS: char = '…';

/// Whether a character is a control character, a line separator or a mark that changes the
/// direction of text.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_and_cuts_text_of_a_guest() {
        let cases = [
            ("", 8, ""),
            ("plain", 8, "plain"),
            ("exactly8", 8, "exactly8"),
            ("nine char", 8, "nine …"),
            ("a\nb\tc\u{1b}[31m", 32, "a b c [31m"),
            ("right\u{202e}left", 32, "right left"),
            ("ääää", 8, "ääää"),
            ("äääää", 8, "ää…"),
            ("ab", 1, "…"),
        ];
        for (text, max, expected) in cases {
            assert_eq!(clean(text, max), expected, "{text:?} cut at {max}");
        }
    }
}
