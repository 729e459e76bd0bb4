//! [`Surface`]: the names of a component's imports and exports, checked before compilation.
//!
//! By default a plugin gets the contract's interfaces and an empty WASI 0.2. Grants add to this.
//! wasmtime would reject any other import when it links the component; these checks exist for their
//! messages, which name the import and the remedy.

use std::collections::BTreeMap;

use ampoule_core::text::clean;
use wasmparser::{BinaryReaderError, Chunk, ComponentExternalKind, Parser, Payload};

use ampoule_core::Grant;

use crate::error::LoadErrorKind;

/// The version of the contract that this engine supports.
pub const CONTRACT_VERSION: &str = "0.2.0";

/// The contract's name in messages.
pub const CONTRACT: &str = "ampoule:injector@0.2.0";

/// The contract's package.
const PACKAGE: &str = "ampoule:injector";

/// Packages of WASI 0.2 that plugins can import. They are empty without a grant.
const WASI: [&str; 6] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// The start of the name of the interface with timers.
const TIMERS: &str = "wasi:clocks/monotonic-clock@";

/// The interfaces of the contract's package that a plugin can import.
const CONTRACT_IMPORTS: [&str; 6] = ["admission", "conventions", "fetching", "log", CACHE, KUBERNETES_SECRETS];
const KUBERNETES_SECRETS: &str = "kubernetes-secrets";
const CACHE: &str = "cache";

/// The interfaces of `wasi:http` for clients.
const HTTP_IMPORTS: [&str; 2] = ["outgoing-handler", "types"];

/// Maximum number of imports of one component, and of exports. WASI 0.2 has thirty interfaces.
const MAX_NAMES: usize = 256;

/// Bytes of a name in a message. The author of the component chose the name.
const MAX_NAME: usize = 128;

/// The defect of a component that ends within one of its sections.
pub const CUT_SHORT: &str = "it ends early";

/// Bytes of a list of names, and of a parser's message.
const MAX_LIST: usize = 1 << 10;

/// The names of a component's imports and exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
}

/// The name of an interface: `package/interface@version`.
struct InterfaceName<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

// === impl Surface ===

impl Surface {
    /// Reads the names from the outermost sections of a component. Exported types are left out:
    /// they exist only as references for other exports.
    ///
    /// The content of inner modules and components is not checked here. The compiler does that.
    pub fn read(component: &[u8]) -> Result<Self, LoadErrorKind> {
        let mut surface = Self { imports: Vec::new(), exports: Vec::new() };
        let (mut parser, mut rest) = (Parser::new(0), component);
        loop {
            let Chunk::Parsed { consumed, payload } =
                parser.parse(rest, true).map_err(|error| invalid_component(&error))?
            else {
                return Err(LoadErrorKind::Invalid(CUT_SHORT.to_owned()));
            };
            rest = &rest[consumed..];
            match payload {
                Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                    let after = rest.get(unchecked_range.len()..);
                    rest = after.ok_or_else(|| LoadErrorKind::Invalid(CUT_SHORT.to_owned()))?;
                }
                Payload::ComponentImportSection(imports) => {
                    check_count("imports", surface.imports.len(), imports.count())?;
                    for import in imports {
                        surface.imports.push(import.map_err(|error| invalid_component(&error))?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) => {
                    check_count("exports", surface.exports.len(), exports.count())?;
                    for export in exports {
                        let export = export.map_err(|error| invalid_component(&error))?;
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

    /// Checks the names, and returns the version of the contract that the component exports.
    ///
    /// Exports are checked first: a plugin for another version of the contract usually imports from
    /// that version as well, and the message should be about the version.
    pub fn check(&self) -> Result<&str, LoadErrorKind> {
        let version = self.check_exports(CONTRACT_VERSION)?;
        self.imports.iter().try_for_each(|import| check_import(import))?;
        Ok(version)
    }

    /// Whether it imports timers. They run also without the grant for clocks, so that a plugin can
    /// see by them how long something takes.
    #[must_use]
    pub fn imports_timers(&self) -> bool {
        self.imports.iter().any(|import| import.starts_with(TIMERS))
    }

    /// Checks that the plugin has every grant that an import requires.
    pub fn check_grants(&self, has: impl Fn(Grant) -> bool) -> Result<(), LoadErrorKind> {
        for (grant, import) in self.grants() {
            if grant.is_required() && !has(grant) {
                return Err(LoadErrorKind::NoGrant { import: clean(import, MAX_NAME), grant });
            }
        }
        Ok(())
    }

    /// The grants that imports need ([`Grant::is_required`]) and that the plugin does not have.
    pub fn missing_grants(&self, has: impl Fn(Grant) -> bool) -> Vec<Grant> {
        self.grants().into_keys().filter(|grant| grant.is_required() && !has(*grant)).collect()
    }

    /// Whether the component exports an interface of the contract, in a version that this engine
    /// supports.
    pub fn has_export(&self, interface: &str) -> bool {
        self.exports.iter().any(|export| {
            let name = InterfaceName::parse(export);
            name.package == PACKAGE && name.interface == interface && is_compatible(name.version)
        })
    }

    /// The grants for the imports, each with its first import.
    pub fn grants(&self) -> BTreeMap<Grant, &str> {
        let mut grants = BTreeMap::new();
        for import in &self.imports {
            if let Some(grant) = InterfaceName::parse(import).grant() {
                grants.entry(grant).or_insert(import.as_str());
            }
        }
        grants
    }

    /// Returns the version of the exported injector, if a host of version `supported` can call it.
    fn check_exports(&self, supported: &str) -> Result<&str, LoadErrorKind> {
        let injectors = self.exports.iter().filter_map(|export| {
            let name = InterfaceName::parse(export);
            (name.package == PACKAGE && name.interface == "injector").then_some(name.version)
        });
        let wanted = format!("{PACKAGE}/injector@{supported}");
        let mut other = None;
        for version in injectors {
            if track(version) == track(supported) {
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

/// Converts an error of the parser.
fn invalid_component(error: &BinaryReaderError) -> LoadErrorKind {
    LoadErrorKind::Invalid(clean(&error.to_string(), MAX_LIST))
}

/// Checks that plugins can have this import.
fn check_import(import: &str) -> Result<(), LoadErrorKind> {
    let InterfaceName { package, interface, version } = InterfaceName::parse(import);
    let needed = match package {
        PACKAGE if !CONTRACT_IMPORTS.contains(&interface) => {
            format!("which {CONTRACT} does not define: upgrade Ampoule if a later version supports it")
        }
        PACKAGE if is_compatible(version) => return Ok(()),
        PACKAGE => {
            format!("but this version of Ampoule supports {CONTRACT}: rebuild the plugin against that version")
        }
        "wasi:http" if !HTTP_IMPORTS.contains(&interface) => {
            "which plugins cannot import: they can only send requests".to_owned()
        }
        _ if is_wasi(package) && version.starts_with("0.2.") => return Ok(()),
        _ if is_wasi(package) => {
            "but this version of Ampoule supports only WASI 0.2: build the plugin for WASI 0.2, or without WASI"
                .to_owned()
        }
        _ => format!("which plugins cannot import: they can import {PACKAGE}/log@{CONTRACT_VERSION} and WASI 0.2"),
    };
    Err(LoadErrorKind::Import { import: clean(import, MAX_NAME), needed })
}

/// Checks that `more` names can be added to `present` names.
fn check_count(what: &'static str, present: usize, more: u32) -> Result<(), LoadErrorKind> {
    let count = present.saturating_add(usize::try_from(more).unwrap_or(usize::MAX));
    if count > MAX_NAMES { Err(LoadErrorKind::TooManyNames { what, count, limit: MAX_NAMES }) } else { Ok(()) }
}

fn is_wasi(package: &str) -> bool {
    WASI.contains(&package) || package == "wasi:http"
}

/// Whether this engine supports a version of the contract. Before 1.0, a new minor version is a new
/// contract. Pre-releases (`0.2.1-alpha`) are not supported.
fn is_compatible(version: &str) -> bool {
    track(version) == track(CONTRACT_VERSION)
}

/// Major and minor version of a release: `0.2` for `0.2.7`, and `None` for a pre-release.
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

    /// The grant that this interface requires, or without which it is empty.
    fn grant(&self) -> Option<Grant> {
        match (self.package, self.interface) {
            ("wasi:http", _) => Some(Grant::Http),
            (PACKAGE, KUBERNETES_SECRETS) => Some(Grant::KubernetesSecrets),
            (PACKAGE, CACHE) => Some(Grant::Cache),
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
            Ok(version) => format!("supports {version}"),
            Err(error) => error.to_string(),
        }
    }

    const INJECTOR: &str = "ampoule:injector/injector@0.2.0";

    #[test]
    fn supports_every_patch_version_of_the_contract_and_wasi() {
        let wasi: Vec<String> = WASI.iter().map(|package| format!("{package}/anything@0.2.3")).collect();
        let wasi: Vec<&str> = wasi.iter().map(String::as_str).collect();
        assert_eq!(check(&[], &[INJECTOR]), "supports 0.2.0");
        assert_eq!(check(&[], &["ampoule:injector/injector@0.2.9", "extra:package/thing@1.0.0"]), "supports 0.2.9");
        assert_eq!(
            check(&["ampoule:injector/log@0.2.4", "ampoule:injector/admission@0.2.4"], &[INJECTOR]),
            "supports 0.2.0"
        );
        assert_eq!(check(&wasi, &[INJECTOR]), "supports 0.2.0");
        assert_eq!(check(&[], &["ampoule:injector/injector@0.1.0", INJECTOR]), "supports 0.2.0");
    }

    #[test]
    fn a_file_that_ends_within_a_module_is_invalid() {
        // The header of a module of 1703 bytes, and its first eight bytes.
        let cut = b"\0asm\x0d\0\x01\0\x01\xa7\x0d\0asm\x01\0\0\0";
        assert_eq!(Surface::read(cut), Err(LoadErrorKind::Invalid(CUT_SHORT.to_owned())));
        assert_eq!(
            Surface::read(&cut[..9]).unwrap_err().to_string(),
            "the file is not a valid component: unexpected end-of-file (at offset 0x9)"
        );
    }

    #[test]
    fn names_both_versions_of_the_contract() {
        insta::assert_snapshot!(check(&["ampoule:injector/log@0.1.0"], &["ampoule:injector/injector@0.1.0"]), @"the component exports ampoule:injector/injector@0.1.0, but this version of Ampoule supports ampoule:injector/injector@0.2.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&[], &["ampoule:injector/injector@0.2.0-rc.1"]), @"the component exports ampoule:injector/injector@0.2.0-rc.1, but this version of Ampoule supports ampoule:injector/injector@0.2.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&["ampoule:injector/log@0.2.1-alpha"], &[INJECTOR]), @"the component imports ampoule:injector/log@0.2.1-alpha, but this version of Ampoule supports ampoule:injector@0.2.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&[], &["ampoule:injector/injector"]), @"the component exports ampoule:injector/injector without a version, but this version of Ampoule supports ampoule:injector/injector@0.2.0: rebuild the plugin against that version");
        insta::assert_snapshot!(check(&["ampoule:injector/log@0.1.0"], &[INJECTOR]), @"the component imports ampoule:injector/log@0.1.0, but this version of Ampoule supports ampoule:injector@0.2.0: rebuild the plugin against that version");
    }

    #[test]
    fn a_host_of_a_later_minor_version_names_both_versions() {
        let surface = Surface { imports: Vec::new(), exports: vec![INJECTOR.to_owned()] };
        insta::assert_snapshot!(surface.check_exports("0.3.0").unwrap_err(), @"the component exports ampoule:injector/injector@0.2.0, but this version of Ampoule supports ampoule:injector/injector@0.3.0: rebuild the plugin against that version");
        assert_eq!(surface.check_exports("0.2.1"), Ok("0.2.0"));
    }

    #[test]
    fn names_the_missing_export_and_the_unavailable_import() {
        insta::assert_snapshot!(check(&[], &[]), @"the component does not export ampoule:injector/injector@0.2.0; it exports nothing");
        insta::assert_snapshot!(check(&[], &["wasi:cli/run@0.2.0", "other"]), @"the component does not export ampoule:injector/injector@0.2.0; it exports wasi:cli/run@0.2.0, other");
        insta::assert_snapshot!(check(&["wasi:http/incoming-handler@0.2.0"], &[INJECTOR]), @"the component imports wasi:http/incoming-handler@0.2.0, which plugins cannot import: they can only send requests");
        insta::assert_snapshot!(check(&["wasi:http/types@0.3.0"], &[INJECTOR]), @"the component imports wasi:http/types@0.3.0, but this version of Ampoule supports only WASI 0.2: build the plugin for WASI 0.2, or without WASI");
        insta::assert_snapshot!(check(&["wasi:cli/environment@0.3.0"], &[INJECTOR]), @"the component imports wasi:cli/environment@0.3.0, but this version of Ampoule supports only WASI 0.2: build the plugin for WASI 0.2, or without WASI");
        insta::assert_snapshot!(check(&["other:package/thing"], &[INJECTOR]), @"the component imports other:package/thing, which plugins cannot import: they can import ampoule:injector/log@0.2.0 and WASI 0.2");
        insta::assert_snapshot!(check(&["ampoule:injector/vault@0.2.0"], &[INJECTOR]), @"the component imports ampoule:injector/vault@0.2.0, which ampoule:injector@0.2.0 does not define: upgrade Ampoule if a later version supports it");
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
        insta::assert_snapshot!(lacking(&["wasi:http/types@0.2.3", "wasi:http/outgoing-handler@0.2.3"], &[]), @"the component imports wasi:http/types@0.2.3, which requires the grant http: list the allowed hosts in injectors[].grants.http.hosts, or remove the import wasi:http/outgoing-handler from wit/world.wit and build the plugin again");
        insta::assert_snapshot!(lacking(&["ampoule:injector/kubernetes-secrets@0.2.0"], &[]), @"the component imports ampoule:injector/kubernetes-secrets@0.2.0, which requires the grant kubernetesSecrets: list the allowed Secrets in injectors[].grants.kubernetesSecrets, or remove the import ampoule:injector/kubernetes-secrets from wit/world.wit and build the plugin again");
        // Available without a grant, but empty.
        let wasi = ["wasi:cli/environment@0.2.3", "wasi:clocks/wall-clock@0.2.3", "wasi:random/random@0.2.3"];
        assert_eq!(lacking(&wasi, &[]), "nothing");
        let granted = [Grant::KubernetesSecrets];
        assert_eq!(lacking(&["ampoule:injector/kubernetes-secrets@0.2.0"], &granted), "nothing");
        assert!(lacking(&["wasi:http/types@0.2.3"], &granted).contains("the grant http"));
    }
}
