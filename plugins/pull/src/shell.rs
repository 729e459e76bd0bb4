//! Quotes the text of a request as a word of a shell script: [`word`] and [`double_quoted`].
//!
//! Text without special characters is not quoted, so that scripts equal those of the reference. Any
//! other text is quoted, so that the shell never interprets it.

use std::borrow::Cow;

use ampoule_plugin_sdk::InjectionError;

/// Returns the text as one word, quoted if necessary. Use it alone or after plain text
/// (`--file=…`), never within quotes.
///
/// # Errors
///
/// The text contains NUL, which a command line cannot contain.
pub fn word(text: &str) -> Result<Cow<'_, str>, InjectionError> {
    shlex::try_quote(text)
        .map_err(|_| InjectionError::invalid_request(format!("{text:?} must not contain a NUL character")))
}

/// Returns the text as one word, in double quotes if it has no special characters.
///
/// # Errors
///
/// As [`word`].
pub fn double_quoted(text: &str) -> Result<String, InjectionError> {
    Ok(match word(text)? {
        Cow::Borrowed(plain) => format!("\"{plain}\""),
        Cow::Owned(quoted) => quoted,
    })
}
