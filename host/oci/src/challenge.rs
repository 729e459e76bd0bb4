//! The challenge of a registry that requires authentication: [`Challenge`], from
//! `WWW-Authenticate`.
//!
//! RFC 9110 defines the header, <https://distribution.github.io/distribution/spec/auth/token/> the
//! token server.

use form_urlencoded::Serializer;
use http_auth::{ChallengeRef, parse_challenges};
use hyper::{HeaderMap, Uri, header::WWW_AUTHENTICATE};

/// The authentication that a registry requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from another server.
    Bearer {
        /// The URL of the token server, as the registry names it; it may be invalid.
        realm: String,
        /// The name of the registry, for the token server.
        service: Option<String>,
    },
    /// A user and a password.
    Basic,
}

// === impl Challenge ===

impl Challenge {
    /// Returns the first bearer challenge of a response, or else the basic one. `None` if it has
    /// neither.
    ///
    /// Headers that are not valid are ignored.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let texts: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        let parsed = texts.iter().filter_map(|text| parse_challenges(text).ok());
        let challenges: Vec<ChallengeRef<'_>> = parsed.flatten().collect();
        if let Some(bearer) = find_scheme(&challenges, "bearer") {
            let realm = parameter(bearer, "realm").unwrap_or_default();
            return Some(Self::Bearer { realm, service: parameter(bearer, "service") });
        }
        find_scheme(&challenges, "basic").map(|_| Self::Basic)
    }
}

/// Returns the URL at which a token server issues a token for a scope. `None` if the realm is not a
/// URL with a host, or if it contains a user: a registry must not choose the credentials.
#[must_use]
pub fn token_url(realm: &str, service: Option<&str>, scope: &str) -> Option<Uri> {
    let mut query = Serializer::new(String::new());
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    let query = query.append_pair("scope", scope).finish();
    let separator = if realm.contains('?') { '&' } else { '?' };
    server_url(&format!("{realm}{separator}{query}"))
}

/// Returns the URL of a token server, if it is valid as for [`token_url`].
pub(crate) fn server_url(realm: &str) -> Option<Uri> {
    let url: Uri = realm.parse().ok()?;
    let authority = url.authority()?;
    let valid = !authority.host().is_empty() && !authority.as_str().contains('@');
    valid.then_some(url)
}

fn find_scheme<'a, 'text>(challenges: &'a [ChallengeRef<'text>], scheme: &str) -> Option<&'a ChallengeRef<'text>> {
    challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.to_unescaped())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[&str]) -> Option<Challenge> {
        let values = headers.iter().map(|text| (WWW_AUTHENTICATE, text.parse().unwrap()));
        Challenge::from_headers(&values.collect())
    }

    #[test]
    fn prefers_a_bearer_challenge_and_ignores_invalid_headers() {
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("registry.example".to_owned()),
        };
        let header = r#"BEARER realm="https://auth.example/token",Service="registry.example",scope="x""#;
        assert_eq!(parse(&[r#"Basic realm="r""#, header]), Some(bearer.clone()));
        assert_eq!(parse(&["garbage,,=", header]), Some(bearer));
        assert_eq!(parse(&[r#"basic realm="r""#]), Some(Challenge::Basic));
        let without_realm = Challenge::Bearer { realm: String::new(), service: None };
        assert_eq!(parse(&[r#"Bearer scope="x""#]), Some(without_realm));
        assert_eq!(parse(&["Negotiate"]), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn a_token_url_needs_a_host_without_a_user_and_escapes_its_parameters() {
        let scope = "repository:a/b:pull";
        for (realm, service, expected) in [
            (
                "https://auth.example/token",
                Some("a&b"),
                Some("https://auth.example/token?service=a%26b&scope=repository%3Aa%2Fb%3Apull"),
            ),
            ("https://auth.example/?x=y", None, Some("https://auth.example/?x=y&scope=repository%3Aa%2Fb%3Apull")),
            ("", None, None),
            ("/token", None, None),
            ("https://a b/", None, None),
            ("https://user:password@auth.example/", None, None),
            ("https://a@@://b/", None, None),
            ("https://:443/", None, None),
        ] {
            let url = token_url(realm, service, scope).map(|url| url.to_string());
            assert_eq!(url.as_deref(), expected, "{realm}");
        }
    }
}
