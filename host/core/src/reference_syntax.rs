//! [`ReferenceSyntax`]: how the text of a reference is read.
//!
//! `secret://GROUP/KEY` asks every injector. `secret://INJECTOR/GROUP/KEY` asks one, and the group
//! may contain `/`. A part can be percent-encoded.

/// Bytes of a reference.
const MAX_REFERENCE: usize = 1024;
/// The prefix of bank-vaults.
const BANK_VAULTS: &str = "vault:";
/// The prefix with which bank-vaults writes a secret.
const BANK_VAULTS_WRITE: &str = ">>vault:";
/// The part of a path of Vault's version 2 that the API adds behind the mount of the engine.
const DATA: &str = "/data/";

/// The texts that are references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceSyntax {
    /// The scheme: `secret` for `secret://…`.
    pub scheme: String,
    /// Whether `vault:PATH#KEY` of bank-vaults is a reference as well.
    pub bank_vaults: bool,
}

/// A parsed reference.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) injector: Option<String>,
    pub(crate) group: String,
    pub(crate) key: String,
    pub(crate) version: String,
    pub(crate) optional: bool,
}

// === impl ReferenceSyntax ===

impl ReferenceSyntax {
    /// Whether a value is meant as a reference, valid or not.
    pub(crate) fn is_reference(&self, value: &str) -> bool {
        self.strip_scheme(value).is_some()
            || (self.bank_vaults && (value.starts_with(BANK_VAULTS) || value.starts_with(BANK_VAULTS_WRITE)))
    }

    /// Whether a word of a command contains a reference.
    pub(crate) fn is_in_word(&self, word: &str) -> bool {
        // Most words have no colon, and a search for a text costs more.
        if !word.as_bytes().contains(&b':') {
            return false;
        }
        let is_scheme = |(at, _)| self.strip_scheme(&word[at..]).is_some() && !ends_with_scheme_char(&word[..at]);
        word.match_indices(&*self.scheme).any(is_scheme)
            || (self.bank_vaults && word.contains(BANK_VAULTS) && word.contains('#'))
    }

    /// # Errors
    ///
    /// The reason why the text is no reference.
    pub(crate) fn parse(&self, text: &str) -> Result<Reference, String> {
        if text.len() > MAX_REFERENCE {
            return Err(format!("the reference must be at most {MAX_REFERENCE} bytes long, got {}", text.len()));
        }
        match self.strip_scheme(text) {
            Some(rest) => self.parse_address(rest),
            None => parse_bank_vaults(text),
        }
    }

    fn strip_scheme<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(&*self.scheme)?.strip_prefix("://")
    }

    fn parse_address(&self, rest: &str) -> Result<Reference, String> {
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parts: Vec<_> = address.split('/').map(decode).collect::<Result<_, _>>()?;
        let mut reference = match &parts[..] {
            [group, key] => Reference { group: group.clone(), key: key.clone(), ..Reference::default() },
            [injector, group @ .., key] if !injector.is_empty() => Reference {
                injector: Some(injector.clone()),
                group: group.join("/"),
                key: key.clone(),
                ..Reference::default()
            },
            _ => return Err(self.expected()),
        };
        if reference.key.is_empty() || address.contains('#') {
            return Err(self.expected());
        }
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("version", version)) => reference.version = decode(version)?,
                Some(("optional", "true")) => reference.optional = true,
                Some(("optional", "false")) => reference.optional = false,
                _ => return Err("after ?, only version=VERSION and optional=true or false are known".to_owned()),
            }
        }
        Ok(reference)
    }

    fn expected(&self) -> String {
        let scheme = &self.scheme;
        format!("the reference must be {scheme}://GROUP/KEY, or {scheme}://INJECTOR/GROUP/KEY to ask one injector")
    }
}

impl Default for ReferenceSyntax {
    fn default() -> Self {
        Self { scheme: "secret".to_owned(), bank_vaults: false }
    }
}

/// Whether a text ends with a character of a scheme: `mysecret://` has a different scheme.
fn ends_with_scheme_char(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Reads `vault:MOUNT/data/PATH#KEY#VERSION`. The mount is a setting of the injector.
fn parse_bank_vaults(text: &str) -> Result<Reference, String> {
    let Some(rest) = text.strip_prefix(BANK_VAULTS) else {
        return Err("a reference that writes a secret (>>vault:) is not supported".to_owned());
    };
    let expected = || "the reference must be vault:PATH#KEY or vault:PATH#KEY#VERSION".to_owned();
    let mut parts = rest.split('#');
    let (path, key) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(expected)?);
    let version = parts.next().unwrap_or_default();
    if path.is_empty() || key.is_empty() || parts.next().is_some() {
        return Err(expected());
    }
    if [path, key].iter().any(|part| part.contains("${")) {
        return Err("a template of bank-vaults is not supported; name the key".to_owned());
    }
    let group = path.split_once(DATA).map_or(path, |(_, group)| group);
    Ok(Reference { group: group.to_owned(), key: key.to_owned(), version: version.to_owned(), ..Reference::default() })
}

/// Decodes `%2F` and the like.
fn decode(part: &str) -> Result<String, String> {
    if !part.contains('%') {
        return Ok(part.to_owned());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else { return Err(not_encoded()) };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are one byte"));
    }
    String::from_utf8(bytes).map_err(|_| not_encoded())
}

fn not_encoded() -> String {
    "the reference has a % that is not followed by two hexadecimal digits of UTF-8; write %25 for %".to_owned()
}
