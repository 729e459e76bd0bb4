//! Removes the sections of a component that only a debugger reads.
//!
//! `wit-component` names every item that it adds: 9 to 10 KB in a plugin. No message of the host
//! contains these names: the reason of a trap is its cause and the last lines that the guest
//! printed.

use anyhow::{Context as _, Result, bail};
use wasmparser_of_wit_component::{Chunk, Parser, Payload};

/// The section with the names of a component's items.
const NAMES: &str = "component-name";

/// Returns the component without the names of its items. Nested modules stay as they are: the
/// compiler has removed their names.
pub(crate) fn without_names(component: &[u8]) -> Result<Vec<u8>> {
    let mut stripped = Vec::with_capacity(component.len());
    let (mut parser, mut rest) = (Parser::new(0), component);
    loop {
        let parsed = parser.parse(rest, true).context("the component is invalid")?;
        let Chunk::Parsed { mut consumed, payload } = parsed else { bail!("the component ends early") };
        match payload {
            Payload::End(_) => return Ok(stripped),
            Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                consumed += usize::try_from(unchecked_range.end - unchecked_range.start)?;
                stripped.extend_from_slice(rest.get(..consumed).context("the component ends early")?);
            }
            Payload::CustomSection(section) if section.name() == NAMES => {}
            _ => stripped.extend_from_slice(&rest[..consumed]),
        }
        rest = &rest[consumed..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

    fn custom(name: &str) -> Vec<u8> {
        let length = |bytes: usize| u8::try_from(bytes).unwrap();
        let body = [&[length(name.len())], name.as_bytes(), b"text"].concat();
        [&[0, length(body.len())], &body[..]].concat()
    }

    #[test]
    fn only_the_names_of_the_outer_component_are_removed() {
        let (names, others) = (custom(NAMES), custom("producers"));
        let inner = [&HEADER[..], &names].concat();
        let nested = [&[4, u8::try_from(inner.len()).unwrap()], &inner[..]].concat();
        let component = [&HEADER[..], &names, &nested, &others, &names].concat();
        assert_eq!(without_names(&component).unwrap(), [&HEADER[..], &nested, &others].concat());
        assert_eq!(without_names(&HEADER).unwrap(), HEADER);
    }

    #[test]
    fn a_component_that_ends_early_is_an_error() {
        for cut in [&HEADER[..4], &[&HEADER[..], &[4, 9]].concat(), b""] {
            assert!(without_names(cut).is_err(), "{cut:?}");
        }
    }
}
