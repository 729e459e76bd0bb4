//! Names of Kubernetes objects by RFC 1123.
//!
//! A name of another party becomes a part of the path of a request to the API server, so it is
//! checked before.

/// Bytes of a label.
const LONGEST_LABEL: usize = 63;
/// Bytes of the name of an object.
const LONGEST_NAME: usize = 253;

/// Whether the text is a label, such as the name of a namespace.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_part(text)
}

/// Whether the text can be the name of an object of most kinds: parts like labels, joined by `.`.
/// Kubernetes limits only the whole name, and not its parts.
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_label_byte) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_labels_and_nothing_that_changes_a_path() {
        for (text, label, name) in [
            ("a", true, true),
            ("team-1", true, true),
            ("a.b-c.d", false, true),
            ("", false, false),
            (".", false, false),
            ("..", false, false),
            ("a..b", false, false),
            ("a/b", false, false),
            ("../a", false, false),
            ("a?b", false, false),
            ("a%2fb", false, false),
            ("A", false, false),
            ("-a", false, false),
            ("a-", false, false),
            (&"a".repeat(63), true, true),
            (&"a".repeat(64), false, true),
            (&"a".repeat(253), false, true),
            (&"a".repeat(254), false, false),
            (&["a"; 127].join("."), false, true),
            (&["a"; 128].join("."), false, false),
        ] {
            assert_eq!((is_dns_label(text), is_object_name(text)), (label, name), "{text}");
        }
    }
}
