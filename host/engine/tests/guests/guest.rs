//! Guests in WebAssembly text. The functions of the contract are written by hand, so that each
//! guest can misbehave in exactly one way.
//!
//! A guest is a core module that is converted to a component, as tool chains do it. Its memory
//! contains texts from 1024, results from 2048, one edit at 4096, and the arguments of the host
//! from 16384.

use std::{fmt::Write as _, fs, path::Path};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// `ok` with one edit: the annotation `wat-key` set to `wat-value`.
pub(super) const INJECTED: u32 = 2144;
/// `ok` with no edits. A guest can store its own list here: pointer at 2164, length at 2168.
pub(super) const INJECTED_LIST: u32 = 2160;
/// `err(not-found("no such\nsecret"))`.
pub(super) const NOT_FOUND: u32 = 2176;
/// `err(denied(…))` with a text of 1 KiB.
pub(super) const DENIED_AT_LENGTH: u32 = 2192;
/// `ok` of `configure`.
pub(super) const CONFIGURED: u32 = 2112;
/// `err("bad settings")` of `configure`.
pub(super) const BAD_SETTINGS: u32 = 2128;

const TEXTS: &str = "wat1.2.3{}wat-keywat-valueno such\nsecretbad settings";

/// The function bodies of a guest, as WebAssembly text. `Default` is a guest without defects.
pub(super) struct Guest {
    /// Declarations before the functions, such as imports of the functions in `world`.
    pub(super) declarations: &'static str,
    /// Additional imports of its world, as WIT.
    pub(super) world: &'static str,
    /// The packages of those imports.
    pub(super) packages: &'static [&'static str],
    /// Body of `describe`.
    pub(super) describe: String,
    /// Body of `configure`.
    pub(super) configure: String,
    /// Body of `inject`.
    pub(super) inject: String,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            declarations: "",
            world: "",
            packages: &[],
            describe: "i32.const 2048".to_owned(),
            configure: format!("i32.const {CONFIGURED}"),
            inject: format!("i32.const {INJECTED}"),
        }
    }
}

/// A guest with this `inject`, and without defects otherwise.
pub(super) fn injecting(body: &str) -> Guest {
    Guest { inject: body.to_owned(), ..Guest::default() }
}

impl Guest {
    /// The component.
    pub(super) fn build(&self) -> Vec<u8> {
        self.build_for("0.1.0")
    }

    /// The component, for a version of the contract.
    pub(super) fn build_for(&self, version: &str) -> Vec<u8> {
        encode(wat::parse_str(self.module(version)).unwrap(), version, self.world, self.packages)
    }

    /// The core module.
    pub(super) fn module(&self, version: &str) -> String {
        let Self { declarations, describe, configure, inject, .. } = self;
        let injector = format!("ampoule:injector/injector@{version}");
        format!(
            r#"(module
                (import "ampoule:injector/log@{version}" "log" (func $log (param i32 i32 i32)))
                {declarations}
                (memory (export "memory") 4)
                (global $free (mut i32) (i32.const 16384))
                (data (i32.const 1024) "{texts}")
                {data}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "{injector}#describe") (result i32) {describe})
                (func (export "{injector}#configure") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {configure})
                (func $inject (export "{injector}#inject") (param i32) (result i32) {inject}))"#,
            texts = escape(TEXTS.as_bytes()),
            data = data(),
        )
    }
}

/// Converts a core module to a component.
pub(super) fn encode(mut module: Vec<u8>, version: &str, world: &str, packages: &[&str]) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_str("contract.wit", &contract(version)).unwrap();
    for package in packages {
        resolve.push_str("package.wit", package).unwrap();
    }
    let world = format!(
        "package test:guest; world guest {{ import ampoule:injector/log@{version}; {world} export ampoule:injector/injector@{version}; }}"
    );
    let package = resolve.push_str("guest.wit", &world).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The contract with another version number, as one document.
fn contract(version: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    let interfaces = ["types.wit", "log.wit", "injector.wit"].map(read).concat();
    format!("package ampoule:injector@{version};\n{interfaces}")
}

fn data() -> String {
    let text = |needle: &str| {
        let at = TEXTS.find(needle).unwrap();
        [1024 + u32::try_from(at).unwrap(), u32::try_from(needle.len()).unwrap()]
    };
    let none = [0, 0];
    let plugin_info = [text("wat1").map(|n| if n == 4 { 3 } else { n }), text("1.2.3"), none, text("{}")].concat();
    let edit = [vec![4, 0], text("wat-key").to_vec(), text("wat-value").to_vec(), vec![0]].concat();
    let segments = [
        (2048, plugin_info),
        (CONFIGURED, vec![0, 0, 0]),
        (BAD_SETTINGS, [vec![1], text("bad settings").to_vec()].concat()),
        (INJECTED, vec![0, 4096, 1]),
        (INJECTED_LIST, vec![0, 0, 0]),
        (NOT_FOUND, [vec![1, 0], text("no such\nsecret").to_vec()].concat()),
        (DENIED_AT_LENGTH, vec![1, 3, 8192, 1024]),
        (4096, edit),
    ];
    segments.iter().map(|(at, words)| segment(*at, words)).collect()
}

fn segment(at: u32, words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    format!("(data (i32.const {at}) \"{}\")", escape(&bytes))
}

fn escape(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    })
}
