//! [`CallerToken`]: the bearer token of a caller, from exactly one header.
//!
//! Nothing else of a request identifies the caller: no cookie, no part of the URL, and no header
//! that impersonates a user.

use axum::http::{HeaderMap, header};
use secrecy::SecretString;

/// Bytes of the longest token. The listener accepts 16 KiB of headers.
const MAX_TOKEN: usize = 8 << 10;
/// The scheme before the token, in lower case, with the space.
const SCHEME: &str = "bearer ";
/// The start of the names of headers that act as another user.
const IMPERSONATION: &str = "impersonate-";

/// A token that is not checked. `Debug` does not show it.
#[derive(Clone, Debug)]
pub struct CallerToken(SecretString);

// === impl CallerToken ===

impl CallerToken {
    /// Reads the token. `None` if there is not exactly one `Authorization` header, or if it has
    /// another scheme, no token, or a token with other characters than printable ASCII.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let text = value.to_str().ok()?;
        let (scheme, token) = text.split_at_checked(SCHEME.len())?;
        let is_token =
            token.len() <= MAX_TOKEN && !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        (scheme.eq_ignore_ascii_case(SCHEME) && is_token).then(|| Self(token.to_owned().into()))
    }

    pub(crate) fn into_secret(self) -> SecretString {
        self.0
    }

    /// The text of the token.
    #[cfg(test)]
    pub(crate) fn expose(&self) -> &str {
        secrecy::ExposeSecret::expose_secret(&self.0)
    }
}

/// Removes the headers that could identify the caller, so that no handler reads them.
pub(crate) fn drop_identity(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::COOKIE);
    let impersonating: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with(IMPERSONATION)).cloned().collect();
    for name in impersonating {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_one_header_with_a_bearer_token_is_a_credential() {
        let long = format!("Bearer {}", "t".repeat(MAX_TOKEN + 1));
        let longest = format!("Bearer {}", "t".repeat(MAX_TOKEN));
        for (what, values, expected) in [
            ("a token", vec!["Bearer abc.def"], Some("abc.def")),
            ("another case of the scheme", vec!["bEaReR abc"], Some("abc")),
            ("no header", vec![], None),
            ("an empty header", vec![""], None),
            ("two headers", vec!["Bearer abc", "Bearer def"], None),
            ("the same header twice", vec!["Bearer abc", "Bearer abc"], None),
            ("another scheme", vec!["Basic abc"], None),
            ("no scheme", vec!["abc.def-ghi"], None),
            ("no token", vec!["Bearer "], None),
            ("no space", vec!["Bearerabc"], None),
            ("two spaces", vec!["Bearer  abc"], None),
            ("two tokens", vec!["Bearer abc def"], None),
            ("two tokens with a comma and a space", vec!["Bearer abc, Bearer def"], None),
            ("a tabulator", vec!["Bearer a\tb"], None),
            ("a long token", vec![&*long], None),
            ("the longest token", vec![&*longest], Some(&longest[SCHEME.len()..])),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let token = CallerToken::from_headers(&headers);
            assert_eq!(token.as_ref().map(CallerToken::expose), expected, "{what}");
            assert!(!format!("{token:?}").contains("abc"), "{what}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").unwrap());
        assert!(CallerToken::from_headers(&headers).is_none(), "bytes that are not ASCII");
    }

    #[test]
    fn headers_that_identify_a_user_are_dropped() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "impersonate-user", "impersonate-extra-a", "accept", "impersonated"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        headers.append("impersonate-group", HeaderValue::from_static("a"));
        headers.append("impersonate-group", HeaderValue::from_static("b"));
        drop_identity(&mut headers);
        let mut left: Vec<_> = headers.keys().map(axum::http::HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "impersonated"]);
    }
}
