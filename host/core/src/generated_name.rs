//! [`GeneratedName`]: the name of a Secret that carries values.
//!
//! Its first part depends on the injector only: it tells an outdated name of an earlier review from
//! a name of the pod's author. The second part identifies the content.

use std::fmt;

/// The start of every name.
const PREFIX: &str = "ampoule-";
/// Hexadecimal digits of the part that depends on the injector.
const FAMILY: usize = 8;
/// Hexadecimal digits of the part that depends on the content.
const CONTENT: usize = 32;

/// The name of a Secret that carries values: `ampoule-FAMILY-CONTENT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GeneratedName(String);

// === impl GeneratedName ===

impl GeneratedName {
    /// Returns the name for two digests in lower-case hexadecimal: of the injector, and of the
    /// content. They have at least 32 digits.
    pub(crate) fn new(injector: &str, content: &str) -> Self {
        Self([PREFIX, &injector[..FAMILY], "-", &content[..CONTENT]].concat())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text has the form of a generated name.
    #[must_use]
    pub fn is_valid(name: &str) -> bool {
        family(name).is_some()
    }

    /// Whether both are names of the same injector's Secrets. False if one of them is no generated
    /// name.
    pub(crate) fn are_related(one: &str, other: &str) -> bool {
        match (family(one), family(other)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for GeneratedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the first part of a generated name; `None` for other names.
fn family(name: &str) -> Option<&str> {
    let (family, content) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_hex = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    (is_hex(family, FAMILY) && is_hex(content, CONTENT)).then_some(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_injector_are_related_and_other_names_are_not() {
        let digits = |digit: &str| digit.repeat(CONTENT);
        let name = |injector, content| GeneratedName::new(&digits(injector), &digits(content)).to_string();
        let (old, new, other) = (name("a", "0"), name("a", "1"), name("b", "0"));
        assert_eq!(old.len(), PREFIX.len() + FAMILY + 1 + CONTENT);
        for (one, two, related) in [
            (old.as_str(), new.as_str(), true),
            (&old, &other, false),
            (&old, "ampoule-team-token", false),
            ("token", "token", false),
            (&old, &old.to_uppercase(), false),
            (&old, &old[..40], false),
        ] {
            assert_eq!(GeneratedName::are_related(one, two), related, "{one} {two}");
        }
    }
}
