//! [`ReferenceSyntax`]: how the text of a reference is read.
//!
//! `secret://GROUP/KEY` asks every injector. `secret://INJECTOR/GROUP/KEY` asks one, and the group
//! may contain `/`. A part can be percent-encoded.

/// Bytes of a reference.
const MAX_REFERENCE: usize = 1024;
/// The prefix of bank-vaults.
const BANK_VAULTS: &str = "vault:";
/// The same without its colon.
const BANK_VAULTS_SCHEME: &str = "vault";
/// The prefix with which bank-vaults writes a secret.
const BANK_VAULTS_WRITE: &str = ">>vault:";
/// The part of a path of Vault's version 2 that the API adds behind the mount of the engine.
const DATA: &str = "/data/";

/// Length of the shortest scheme of which a typing error is recognized. A shorter one could be
/// another scheme.
const MIN_FUZZY_SCHEME: usize = 5;
/// The start of a reference within a text of bank-vaults.
const BANK_VAULTS_INLINE: &str = "${vault:";

/// The texts that are references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceSyntax {
    /// The scheme: `secret` for `secret://…`.
    pub scheme: String,
    /// Whether `vault:PATH#KEY` of bank-vaults is a reference as well.
    pub bank_vaults: bool,
}

/// A text that is no reference, but was probably meant as one: the container starts with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NearMiss {
    /// The text begins like a reference with a typing error, such as `Secret://` or `secret:/`.
    Form,
    /// A reference within a longer text.
    Embedded,
    /// The same for a reference of bank-vaults.
    BankVaultsForm,
    /// A reference of bank-vaults, which the configuration does not permit.
    BankVaultsOff,
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
        self.contains_reference(word) || (self.bank_vaults && word.contains(BANK_VAULTS) && word.contains('#'))
    }

    /// Whether a word of a command without a reference probably has a text that was meant as one.
    /// Takes linear time.
    ///
    /// Fewer texts count than in a variable: `secret:a/b` is a remote of rclone, `secrets://` the
    /// scheme of helm-secrets, and a word can be a script.
    pub(crate) fn has_near_miss_in_word(&self, word: &str) -> bool {
        // As in `is_in_word`.
        word.as_bytes().contains(&b':') && word.split(ends_argument).any(|text| self.is_near_miss_in_word(text))
    }

    fn is_near_miss_in_word(&self, text: &str) -> bool {
        let Some((start, rest)) = text.split_once(':') else { return false };
        if start.eq_ignore_ascii_case(&self.scheme) {
            return rest.starts_with("//") || is_absolute_path_of_two(rest);
        }
        if rest.starts_with("//") {
            return self.is_misspelt_scheme(start) && start.strip_suffix('s') != Some(&*self.scheme);
        }
        let start = start.strip_prefix(">>").unwrap_or(start);
        start.eq_ignore_ascii_case(BANK_VAULTS_SCHEME) && is_path_and_key(rest)
    }

    /// Bytes of the shortest value that is meant as a reference, valid or not.
    pub(crate) fn shortest(&self) -> usize {
        (self.scheme.len() + ":/".len()).min(BANK_VAULTS.len())
    }

    /// Whether a value that is no reference was probably meant as one. Takes linear time.
    pub(crate) fn near_miss(&self, value: &str) -> Option<NearMiss> {
        let has_colon = value.as_bytes().contains(&b':');
        if !(has_colon || has_prefix(value.trim_start(), &self.scheme)) || self.is_reference(value) {
            return None;
        }
        let text = value.trim().trim_matches(['"', '\'', '`']);
        if self.resembles_scheme(text) {
            return Some(NearMiss::Form);
        }
        if !has_colon {
            return None;
        }
        let is_bank_vaults = [BANK_VAULTS, BANK_VAULTS_WRITE].iter().any(|prefix| has_prefix(text, prefix));
        if is_bank_vaults && text.contains('#') {
            return Some(if self.bank_vaults { NearMiss::BankVaultsForm } else { NearMiss::BankVaultsOff });
        }
        if self.bank_vaults && value.contains(BANK_VAULTS_INLINE) {
            return Some(NearMiss::BankVaultsForm);
        }
        self.contains_reference(value).then_some(NearMiss::Embedded)
    }

    /// What the author of a near miss has to write, for messages.
    pub(crate) fn advice(&self, near_miss: NearMiss) -> String {
        let scheme = &self.scheme;
        match near_miss {
            NearMiss::Form => format!(
                "is not a reference, but resembles one; write {scheme}://GROUP/KEY or {scheme}://INJECTOR/GROUP/KEY"
            ),
            NearMiss::Embedded => format!(
                "contains a reference, but only a whole value is one; write {scheme}://GROUP/KEY in a variable before \
                 it, and $(NAME) here"
            ),
            NearMiss::BankVaultsForm => {
                "is not a reference of bank-vaults, but resembles one; write vault:PATH#KEY, and nothing else"
                    .to_owned()
            }
            NearMiss::BankVaultsOff => "is a reference of bank-vaults, which is read only with \
                                        conventions.references.compat: bank-vaults"
                .to_owned(),
        }
    }

    /// Whether a text begins with the scheme in another spelling, or with a wrong separator.
    fn resembles_scheme(&self, text: &str) -> bool {
        let scheme = &*self.scheme;
        if has_prefix(text, scheme) {
            let rest = &text.as_bytes()[scheme.len()..];
            // A path, such as `secret:db/password`, but no text such as `secret: value`.
            let is_path = |rest: &[u8]| rest.contains(&b'/') && !rest.iter().any(u8::is_ascii_whitespace);
            if rest.starts_with(b"//")
                || rest.strip_prefix(b":").is_some_and(|rest| rest.starts_with(b"//") || is_path(rest))
            {
                return true;
            }
        }
        let start = &text.as_bytes()[..text.len().min(scheme.len() + "s://".len())];
        let end = start.windows(3).position(|separator| separator == b"://");
        end.is_some_and(|end| self.is_misspelt_scheme(&text[..end]))
    }

    fn is_misspelt_scheme(&self, text: &str) -> bool {
        self.scheme.len() >= MIN_FUZZY_SCHEME && is_one_error_apart(text, &self.scheme)
    }

    fn contains_reference(&self, text: &str) -> bool {
        let is_scheme = |(at, _)| self.strip_scheme(&text[at..]).is_some() && !ends_with_scheme_char(&text[..at]);
        text.match_indices(&*self.scheme).any(is_scheme)
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

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a character ends an argument within a word, such as a shell script or `--flag=value`.
fn ends_argument(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '`' | '=' | ',' | ';' | '|' | '&' | '(' | ')')
}

/// Whether a text is `/GROUP/KEY`. `/data` behind the name of a volume is its path.
fn is_absolute_path_of_two(text: &str) -> bool {
    let parts = text.strip_prefix('/').and_then(|path| path.split_once('/'));
    parts.is_some_and(|(group, key)| !group.is_empty() && !key.is_empty())
}

/// Whether a text is `PATH#KEY`. `8200/ui/#login` is the port of a server, and a page.
fn is_path_and_key(text: &str) -> bool {
    let Some((path, key)) = text.split_once('#') else { return false };
    let is_port = path.split('/').next().is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_digit()));
    !key.is_empty() && !is_port
}

/// Whether one text becomes the other by one typing error: a letter that is missing, added or
/// wrong, or two letters in the wrong order. The case of letters is ignored.
fn is_one_error_apart(text: &str, scheme: &str) -> bool {
    text.len().abs_diff(scheme.len()) <= 1 && strsim::osa_distance(&text.to_ascii_lowercase(), scheme) <= 1
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
