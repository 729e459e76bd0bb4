//! Guests in WebAssembly text. The functions of the contract are written by hand, so that each
//! guest can misbehave in exactly one way.
//!
//! A guest is a core module that is converted to a component, as tool chains do it. Its memory
//! contains texts from 1024, results from 2048, and the arguments of the host from 16384.

use std::{fmt::Write as _, fs, path::Path};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Sets the annotation `wat-key` to `wat-value`. A guest can set the globals `$key`, `$key_length`,
/// `$value` and `$value_length` before.
pub(super) const INJECTED: &str = "(call $injected)";
/// Gives the reason `not-found("no such\nsecret")`.
pub(super) const NOT_FOUND: &str = "(call $not_found)";
/// Gives the reason `denied(…)` with a text of 1 KiB.
pub(super) const DENIED_AT_LENGTH: &str = "(call $denied_at_length)";
/// `ok` of `configure`.
pub(super) const CONFIGURED: u32 = 2112;
/// `err("bad settings")` of `configure`.
pub(super) const BAD_SETTINGS: u32 = 2128;
/// Where the host writes the result of an edit.
const EDIT_RESULT: u32 = 12288;

const TEXTS: &str =
    "{\"name\":\"wat\",\"version\":\"1.2.3\",\"settingsSchema\":{}}wat-keywat-valueno such\nsecretbad settings";

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
    /// Body of `inject`, without the end of its handles. Parameters: the pod, the request.
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
            inject: INJECTED.to_owned(),
        }
    }
}

/// A guest with this `inject`, and without defects otherwise.
pub(super) fn injecting(body: &str) -> Guest {
    Guest { inject: body.to_owned(), ..Guest::default() }
}

/// Lets `$injected` use another value: this many bytes at this place.
pub(super) fn with_value(at: u32, length: u32) -> String {
    format!("(global.set $value (i32.const {at})) (global.set $value_length (i32.const {length}))")
}

/// The place and length of a text of the guest.
pub(super) fn text(needle: &str) -> [u32; 2] {
    let at = TEXTS.find(needle).unwrap();
    [1024 + u32::try_from(at).unwrap(), u32::try_from(needle.len()).unwrap()]
}

impl Guest {
    /// The component.
    pub(super) fn build(&self) -> Vec<u8> {
        self.build_for("0.2.0")
    }

    /// The component, for a version of the contract.
    pub(super) fn build_for(&self, version: &str) -> Vec<u8> {
        encode(wat::parse_str(self.module(version)).unwrap(), version, self.world, self.packages)
    }

    /// The core module.
    pub(super) fn module(&self, version: &str) -> String {
        let Self { declarations, describe, configure, inject, .. } = self;
        let (contract, injector) =
            (format!("ampoule:injector/admission@{version}"), format!("ampoule:injector/injector@{version}"));
        let [key, key_length] = text("wat-key");
        let [value, value_length] = text("wat-value");
        let [missing, missing_length] = text("no such\nsecret");
        format!(
            r#"(module
                (import "ampoule:injector/log@{version}" "log" (func $log (param i32 i32 i32)))
                (import "{contract}" "[method]request.set-annotation"
                    (func $set_annotation (param i32 i32 i32 i32 i32 i32 i32)))
                (import "{contract}" "[method]request.not-found" (func $request_not_found (param i32 i32 i32)))
                (import "{contract}" "[method]request.denied" (func $request_denied (param i32 i32 i32)))
                (import "{contract}" "[method]request.discard-edits" (func $discard_edits (param i32)))
                (import "{contract}" "[method]request.group" (func $group (param i32 i32)))
                (import "{contract}" "[static]volume.memory" (func $memory_volume (result i32)))
                (import "{contract}" "[resource-drop]volume" (func $drop_volume (param i32)))
                (import "{contract}" "[method]volume.size-limit" (func $size_limit (param i32 i32 i32)))
                (import "{contract}" "[resource-drop]pod" (func $drop_pod (param i32)))
                (import "{contract}" "[resource-drop]request" (func $drop_request (param i32)))
                {declarations}
                (memory (export "memory") 4)
                (global $free (mut i32) (i32.const 16384))
                (global $request (mut i32) (i32.const 0))
                (global $key (mut i32) (i32.const {key}))
                (global $key_length (mut i32) (i32.const {key_length}))
                (global $value (mut i32) (i32.const {value}))
                (global $value_length (mut i32) (i32.const {value_length}))
                (data (i32.const 1024) "{texts}")
                {data}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func $injected
                    (call $set_annotation (global.get $request)
                        (global.get $key) (global.get $key_length) (global.get $value) (global.get $value_length)
                        (i32.const 0) (i32.const {EDIT_RESULT})))
                (func $not_found
                    (call $request_not_found (global.get $request) (i32.const {missing}) (i32.const {missing_length})))
                (func $denied_at_length
                    (call $request_denied (global.get $request) (i32.const 8192) (i32.const 1024)))
                (func $inject (param $pod i32) (param i32) {inject})
                (func (export "{injector}#describe") (result i32) {describe})
                (func (export "{injector}#configure") (param i32 i32) (result i32) {configure})
                (func (export "{injector}#inject") (param i32 i32)
                    (global.set $request (local.get 1))
                    (call $inject (local.get 0) (local.get 1))
                    (call $drop_request (local.get 1))
                    (call $drop_pod (local.get 0))))"#,
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
        "package test:guest; world guest {{ import ampoule:injector/log@{version}; \
         import ampoule:injector/admission@{version}; import ampoule:injector/conventions@{version}; {world} \
         export ampoule:injector/injector@{version}; }}"
    );
    let package = resolve.push_str("guest.wit", &world).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The contract with another version number, as one document. Version 0.2.1 has the additions of
/// [`ampoule_next_contract`].
fn contract(version: &str) -> String {
    let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let folder = if version == ampoule_next_contract::VERSION { ampoule_next_contract::folder() } else { released };
    let files = ["admission.wit", "conventions.wit", "log.wit", "fetching.wit", "plugin.wit", "clock.wit"];
    // `wit/` has no clock.
    let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    format!("package ampoule:injector@{version};\n{}", files.map(read).concat())
}

fn data() -> String {
    let description = text("{\"name\":\"wat\",\"version\":\"1.2.3\",\"settingsSchema\":{}}").to_vec();
    let segments = [
        (2048, description),
        (CONFIGURED, vec![0, 0, 0]),
        (BAD_SETTINGS, [vec![1], text("bad settings").to_vec()].concat()),
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
