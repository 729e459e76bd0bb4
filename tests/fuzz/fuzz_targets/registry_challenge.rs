//! The parser of `WWW-Authenticate`: any headers that a registry returns, one in each line.
//!
//! A quoted realm is read back unchanged. The URL for a token always has a host.

#![no_main]

use ampoule_oci::challenge::{Challenge, token_url};
use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use libfuzzer_sys::fuzz_target;

fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let values = lines.filter_map(|line| HeaderValue::from_str(line).ok());
    Challenge::from_headers(&values.map(|value| (WWW_AUTHENTICATE, value)).collect::<HeaderMap>())
}

fuzz_target!(|text: &str| {
    if let Some(Challenge::Bearer { realm, service }) = parse(text.lines())
        && let Some(url) = token_url(&realm, service.as_deref(), "repository:team/echo:pull")
    {
        assert!(url.host().is_some_and(|host| !host.is_empty()), "{url}");
    }
    let realm: String = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let header = format!("Bearer realm=\"{quoted}\"");
    let expected = Challenge::Bearer { realm, service: None };
    assert_eq!(parse(std::iter::once(header.as_str())), Some(expected), "{header}");
});
