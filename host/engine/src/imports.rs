//! What a component may import and must export, checked by name before anything of it is compiled.
//!
//! Deny by default: a plugin gets the contract's `log` and an empty WASI 0.2, and beyond that what it was granted. wasmtime
//! would refuse the rest when linking; the checks here exist to say which import it is and what would be needed for it.

use std::collections::BTreeMap;

use wasmparser::{BinaryReaderError, Chunk, ComponentExternalKind, Parser, Payload};

use crate::{error::LoadErrorKind, grants::Grant, text::clean};

/// The version of the contract that this engine speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// The contract as messages name it.
pub(crate) const CONTRACT: &str = "ampoule:injector@0.1.0";

/// The contract's package.
const PACKAGE: &str = "ampoule:injector";

/// Packages of WASI 0.2 that are there, and empty.
const WASI: [&str; 6] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// The interfaces that a plugin may import of the contract's package; that of the Secrets wants a grant.
const CONTRACT_IMPORTS: [&str; 3] = ["log", "types", KUBERNETES_SECRETS];
const KUBERNETES_SECRETS: &str = "kubernetes-secrets";

/// The interfaces of `wasi:http` that a client has.
const HTTP_IMPORTS: [&str; 2] = ["outgoing-handler", "types"];

/// Imports of one component, and exports. All of WASI 0.2 has thirty interfaces.
const MAX_NAMES: usize = 256;

/// Bytes of a name in a message: the component's author chose it.
const MAX_NAME: usize = 128;

/// What is wrong with a component that ends within one of its parts.
pub(crate) const CUT_SHORT: &str = "it ends early";

/// Bytes of a message that lists names, or that a parser words.
const MAX_LIST: usize = 1 << 10;

/// The names that a component imports and exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surface {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// `package/interface@version`, as components name interfaces.
struct InterfaceName<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

// === impl Surface ===

impl Surface {
    /// The names of a component, from its outermost sections alone. Types that it exports for others to refer to are left out.
    ///
    /// What else is in it is not looked at: the compiler does that, in its own time.
    pub(crate) fn read(component: &[u8]) -> Result<Self, LoadErrorKind> {
        let invalid = |error: BinaryReaderError| LoadErrorKind::Invalid(clean(&error.to_string(), MAX_LIST));
        let mut surface = Self { imports: Vec::new(), exports: Vec::new() };
        let (mut parser, mut rest) = (Parser::new(0), component);
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).map_err(invalid)? else {
                return Err(LoadErrorKind::Invalid(CUT_SHORT.to_owned()));
            };
            rest = &rest[consumed..];
            match payload {
                Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                    let after = rest.get(unchecked_range.len()..);
                    rest = after.ok_or_else(|| LoadErrorKind::Invalid(CUT_SHORT.to_owned()))?;
                }
                Payload::ComponentImportSection(imports) => {
                    bound("imports", surface.imports.len(), imports.count())?;
                    for import in imports {
                        surface.imports.push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) => {
                    bound("exports", surface.exports.len(), exports.count())?;
                    for export in exports {
                        let export = export.map_err(invalid)?;
                        if export.kind != ComponentExternalKind::Type {
                            surface.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                Payload::End(_) => return Ok(surface),
                _ => {}
            }
        }
    }

    /// The version of the contract that the component exports, or why it cannot be served.
    ///
    /// Exports come first: a plugin for another version of the contract mostly imports from that version as well, and it
    /// is the version that its author has to hear about.
    pub(crate) fn check(&self) -> Result<&str, LoadErrorKind> {
        let version = self.check_exports()?;
        self.imports.iter().try_for_each(|import| check_import(import))?;
        Ok(version)
    }

    /// Whether the component has every grant that it cannot do without.
    pub(crate) fn check_grants(&self, has: impl Fn(Grant) -> bool) -> Result<(), LoadErrorKind> {
        let lacking = self.grants().into_iter().find(|(grant, _)| grant.is_required() && !has(*grant));
        lacking.map_or(Ok(()), |(grant, import)| Err(LoadErrorKind::NoGrant { import: clean(import, MAX_NAME), grant }))
    }

    /// The grants that the imports are about, each with the first of those imports.
    pub(crate) fn grants(&self) -> BTreeMap<Grant, &str> {
        let mut grants = BTreeMap::new();
        for import in &self.imports {
            if let Some(grant) = InterfaceName::parse(import).grant() {
                grants.entry(grant).or_insert(import.as_str());
            }
        }
        grants
    }

    fn check_exports(&self) -> Result<&str, LoadErrorKind> {
        let injectors = self.exports.iter().filter_map(|export| {
            let name = InterfaceName::parse(export);
            (name.package == PACKAGE && name.interface == "injector").then_some(name.version)
        });
        let wanted = format!("{PACKAGE}/injector@{CONTRACT_VERSION}");
        let mut other = None;
        for version in injectors {
            if is_compatible(version) {
                return Ok(version);
            }
            other = Some(version);
        }
        Err(match other {
            Some("") => LoadErrorKind::OtherVersion { wanted, found: format!("{PACKAGE}/injector without a version") },
            Some(version) => {
                let found = clean(&format!("{PACKAGE}/injector@{version}"), MAX_NAME);
                LoadErrorKind::OtherVersion { wanted, found }
            }
            None if self.exports.is_empty() => LoadErrorKind::NoInjector { wanted, found: "nothing".to_owned() },
            None => LoadErrorKind::NoInjector { wanted, found: clean(&self.exports.join(", "), MAX_LIST) },
        })
    }
}

/// Whether a plugin may have this import.
fn check_import(import: &str) -> Result<(), LoadErrorKind> {
    let InterfaceName { package, interface, version } = InterfaceName::parse(import);
    let needed = match package {
        PACKAGE if !CONTRACT_IMPORTS.contains(&interface) => format!("which {PACKAGE} does not have"),
        PACKAGE if is_compatible(version) => return Ok(()),
        PACKAGE => {
            format!("and this Ampoule speaks {CONTRACT}: rebuild the plugin against that version")
        }
        "wasi:http" if !HTTP_IMPORTS.contains(&interface) => {
            "which no plugin gets: it may send requests only".to_owned()
        }
        _ if is_wasi(package) && version.starts_with("0.2.") => return Ok(()),
        _ if is_wasi(package) => {
            "and this Ampoule has WASI 0.2 only: build the plugin for WASI 0.2, or for none".to_owned()
        }
        _ => format!("which no plugin gets: there are {PACKAGE}/log@{CONTRACT_VERSION} and an empty WASI 0.2"),
    };
    Err(LoadErrorKind::Import { import: clean(import, MAX_NAME), needed })
}

/// Whether a section may have `more` names, where there are some already.
fn bound(what: &'static str, there: usize, more: u32) -> Result<(), LoadErrorKind> {
    let count = there.saturating_add(usize::try_from(more).unwrap_or(usize::MAX));
    if count > MAX_NAMES { Err(LoadErrorKind::TooManyNames { what, count, limit: MAX_NAMES }) } else { Ok(()) }
}

fn is_wasi(package: &str) -> bool {
    WASI.contains(&package) || package == "wasi:http"
}

/// Whether the contract's version is one that this engine serves. Before 1.0 a new minor version is a new contract, and what comes
/// before a release (`0.1.1-alpha`) is none that was ever promised.
fn is_compatible(version: &str) -> bool {
    track(version) == track(CONTRACT_VERSION)
}

/// `0.1` of the release `0.1.7`.
fn track(version: &str) -> Option<&str> {
    let (track, patch) = version.rsplit_once('.')?;
    patch.bytes().all(|byte| byte.is_ascii_digit()).then_some(track)
}

// === impl InterfaceName ===

impl<'a> InterfaceName<'a> {
    fn parse(name: &'a str) -> Self {
        let (path, version) = name.rsplit_once('@').unwrap_or((name, ""));
        let (package, interface) = path.split_once('/').unwrap_or((path, ""));
        Self { package, interface, version }
    }

    /// The grant that makes it more than empty.
    fn grant(&self) -> Option<Grant> {
        match (self.package, self.interface) {
            ("wasi:http", _) => Some(Grant::Http),
            (PACKAGE, KUBERNETES_SECRETS) => Some(Grant::KubernetesSecrets),
            ("wasi:cli", "environment") => Some(Grant::Environment),
            ("wasi:clocks", "wall-clock" | "monotonic-clock") => Some(Grant::Clock),
            ("wasi:random", _) => Some(Grant::Randomness),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(imports: &[&str], exports: &[&str]) -> String {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let surface = Surface { imports: owned(imports), exports: owned(exports) };
        match surface.check() {
            Ok(version) => format!("speaks {version}"),
            Err(error) => error.to_string(),
        }
    }

    const INJECTOR: &str = "ampoule:injector/injector@0.1.0";

    #[test]
    fn serves_every_patch_of_the_contract_and_an_empty_wasi() {
        let wasi: Vec<String> = WASI.iter().map(|package| format!("{package}/anything@0.2.3")).collect();
        let wasi: Vec<&str> = wasi.iter().map(String::as_str).collect();
        assert_eq!(check(&[], &[INJECTOR]), "speaks 0.1.0");
        assert_eq!(check(&[], &["ampoule:injector/injector@0.1.9", "extra:package/thing@1.0.0"]), "speaks 0.1.9");
        assert_eq!(check(&["ampoule:injector/log@0.1.4", "ampoule:injector/types@0.1.4"], &[INJECTOR]), "speaks 0.1.0");
        assert_eq!(check(&wasi, &[INJECTOR]), "speaks 0.1.0");
        assert_eq!(check(&[], &["ampoule:injector/injector@0.2.0", INJECTOR]), "speaks 0.1.0");
    }

    #[test]
    fn a_file_that_ends_within_a_module_is_no_component() {
        // A module of 1703 bytes, of which eight are there: a parser that looks for its next section finds the end.
        let cut = b"\0asm\x0d\0\x01\0\x01\xa7\x0d\0asm\x01\0\0\0";
        assert_eq!(Surface::read(cut), Err(LoadErrorKind::Invalid(CUT_SHORT.to_owned())));
        assert_eq!(
            Surface::read(&cut[..9]).unwrap_err().to_string(),
            "the file is no valid component: unexpected end-of-file (at offset 0x9)"
        );
    }

    #[test]
    fn names_both_versions_of_the_contract() {
        insta::assert_snapshot!(check(&["ampoule:injector/log@0.2.0"], &["ampoule:injector/injector@0.2.0"]), @"the component exports ampoule:injector/injector@0.2.0, and this Ampoule speaks ampoule:injector/injector@0.1.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&[], &["ampoule:injector/injector@0.1.0-rc.1"]), @"the component exports ampoule:injector/injector@0.1.0-rc.1, and this Ampoule speaks ampoule:injector/injector@0.1.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&["ampoule:injector/log@0.1.1-alpha"], &[INJECTOR]), @"the component imports ampoule:injector/log@0.1.1-alpha, and this Ampoule speaks ampoule:injector@0.1.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&[], &["ampoule:injector/injector"]), @"the component exports ampoule:injector/injector without a version, and this Ampoule speaks ampoule:injector/injector@0.1.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&["ampoule:injector/log@0.2.0"], &[INJECTOR]), @"the component imports ampoule:injector/log@0.2.0, and this Ampoule speaks ampoule:injector@0.1.0: rebuild the plugin against that version");
    }

    #[test]
    fn names_what_an_export_is_missing_or_what_an_import_needs() {
        insta::assert_snapshot!(check(&[], &[]), @"the component exports no ampoule:injector/injector@0.1.0; it exports nothing");
        insta::assert_snapshot!(check(&[], &["wasi:cli/run@0.2.0", "other"]), @"the component exports no ampoule:injector/injector@0.1.0; it exports wasi:cli/run@0.2.0, other");
        insta::assert_snapshot!(check(&["wasi:http/incoming-handler@0.2.0"], &[INJECTOR]), @"the component imports wasi:http/incoming-handler@0.2.0, which no plugin gets: it may send requests only");
        insta::assert_snapshot!(check(&["wasi:http/types@0.3.0"], &[INJECTOR]), @"the component imports wasi:http/types@0.3.0, and this Ampoule has WASI 0.2 only: build the plugin for WASI 0.2, or for none");
        insta::assert_snapshot!(check(&["wasi:cli/environment@0.3.0"], &[INJECTOR]), @"the component imports wasi:cli/environment@0.3.0, and this Ampoule has WASI 0.2 only: build the plugin for WASI 0.2, or for none");
        insta::assert_snapshot!(check(&["other:package/thing"], &[INJECTOR]), @"the component imports other:package/thing, which no plugin gets: there are ampoule:injector/log@0.1.0 and an empty WASI 0.2");
        insta::assert_snapshot!(check(&["ampoule:injector/vault@0.1.0"], &[INJECTOR]), @"the component imports ampoule:injector/vault@0.1.0, which ampoule:injector does not have");
    }

    #[test]
    fn names_the_grant_that_an_import_lacks() {
        let lacking = |imports: &[&str], has: &[Grant]| {
            let imports = imports.iter().map(|import| (*import).to_owned()).collect();
            let surface = Surface { imports, exports: Vec::new() };
            surface
                .check_grants(|grant| has.contains(&grant))
                .map_or_else(|error| error.to_string(), |()| "nothing".to_owned())
        };
        insta::assert_snapshot!(lacking(&["wasi:http/types@0.2.3", "wasi:http/outgoing-handler@0.2.3"], &[]), @"the component imports wasi:http/types@0.2.3, which needs the grant http: list the hosts that it may call in injectors[].grants.http.hosts, or build the plugin without it (JavaScript: `--disable http`)");
        insta::assert_snapshot!(lacking(&["ampoule:injector/kubernetes-secrets@0.1.0"], &[]), @"the component imports ampoule:injector/kubernetes-secrets@0.1.0, which needs the grant kubernetesSecrets: list the Secrets that it may read in injectors[].grants.kubernetesSecrets, or build the plugin without it");
        // What there is without a grant, and empty.
        let wasi = ["wasi:cli/environment@0.2.3", "wasi:clocks/wall-clock@0.2.3", "wasi:random/random@0.2.3"];
        assert_eq!(lacking(&wasi, &[]), "nothing");
        let granted = [Grant::KubernetesSecrets];
        assert_eq!(lacking(&["ampoule:injector/kubernetes-secrets@0.1.0"], &granted), "nothing");
        assert!(lacking(&["wasi:http/types@0.2.3"], &granted).contains("the grant http"));
    }
}
