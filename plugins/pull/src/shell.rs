//! Text of a request as words of a shell script: [`word`] and [`double_quoted`].
//!
//! Plain text stays as it is, so that scripts read like the reference's; anything else is quoted, so that it is never more
//! than text to the shell.

use std::borrow::Cow;

use ampoule_plugin_sdk::InjectionError;

/// One word, quoted where it must be. Use it on its own or after plain text (`--file=…`), never within quotes.
///
/// # Errors
///
/// The text has a NUL, which no command line can hold.
pub fn word(text: &str) -> Result<Cow<'_, str>, InjectionError> {
    shlex::try_quote(text)
        .map_err(|_| InjectionError::invalid_request(format!("{text:?} has a NUL, which no command can be given")))
}

/// One word that stands in double quotes where the text is plain.
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
