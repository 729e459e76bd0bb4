//! [`Package`]: the items of a WIT package, each with its type as text.
//!
//! Two items with the same text are interchangeable. Comments are not part of the text.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use wit_parser::{Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, WorldId, WorldItem, WorldKey};

/// A WIT package.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) version: String,
    /// The compatible versions: `0.2` for 0.2.7, `1` for 1.2.3.
    track: String,
    /// The type of each item, by `interface/item`.
    items: BTreeMap<String, String>,
    /// The interfaces that plugins export.
    exported: BTreeSet<String>,
}

// === impl Package ===

impl Package {
    /// Reads the package in a folder.
    pub(super) fn read(folder: &Path) -> Self {
        let mut resolve = Resolve::default();
        let (id, _) = resolve.push_dir(folder).unwrap();
        let package = &resolve.packages[id];
        let version = package.name.version.as_ref().expect("the package has a version");
        let track = match version.major {
            0 => format!("0.{}", version.minor),
            major => major.to_string(),
        };
        let mut read = Self { version: version.to_string(), track, items: BTreeMap::new(), exported: BTreeSet::new() };
        for (name, interface) in &package.interfaces {
            read.add_interface(&resolve, name, *interface);
        }
        for (name, world) in &package.worlds {
            read.add_world(&resolve, name, *world);
        }
        read
    }

    pub(super) fn has(&self, item: &str) -> bool {
        self.items.contains_key(item)
    }

    /// Whether a host of the other version may run the plugins of this version.
    pub(super) fn has_track_of(&self, other: &Self) -> bool {
        self.track == other.track
    }

    /// The reasons why a plugin for this version does not run on a host of a later version.
    pub(super) fn incompatibilities(&self, later: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (item, text) in &self.items {
            match later.items.get(item) {
                None => found.push(format!("{item} is missing")),
                Some(now) if now != text => found.push(format!("{item} was `{text}`, and is `{now}`")),
                Some(_) => {}
            }
        }
        for item in later.items.keys().filter(|item| !self.has(item)) {
            let interface = item.split('/').next().unwrap_or_default();
            if self.exported.contains(interface) {
                found.push(format!("{item} is new, and plugins export {interface}: add an interface instead"));
            }
        }
        found
    }

    fn add_interface(&mut self, resolve: &Resolve, name: &str, interface: InterfaceId) {
        let interface = &resolve.interfaces[interface];
        for (item, id) in &interface.types {
            self.items.insert(format!("{name}/{item}"), definition(resolve, &resolve.types[*id].kind));
        }
        for (item, function) in &interface.functions {
            self.items.insert(format!("{name}/{item}"), signature(resolve, function));
        }
    }

    fn add_world(&mut self, resolve: &Resolve, name: &str, world: WorldId) {
        let world = &resolve.worlds[world];
        for (direction, items) in [("import", &world.imports), ("export", &world.exports)] {
            for (key, item) in items {
                let item_name = key_name(resolve, key);
                let text = match item {
                    WorldItem::Function(function) => signature(resolve, function),
                    WorldItem::Interface { .. } => "interface".to_owned(),
                    WorldItem::Type { id, .. } => definition(resolve, &resolve.types[*id].kind),
                };
                self.items.insert(format!("world {name}/{direction} {item_name}"), text);
                if direction == "export" {
                    self.exported.insert(item_name);
                }
            }
        }
    }
}

/// The name of an import or export, without the package of the contract and its version.
fn key_name(resolve: &Resolve, key: &WorldKey) -> String {
    match key {
        WorldKey::Name(name) => name.clone(),
        WorldKey::Interface(id) => resolve.interfaces[*id].name.clone().expect("a package's interface has a name"),
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters = function.params.iter().map(|parameter| field(resolve, &parameter.name, &parameter.ty));
    let parameters = parameters.collect::<Vec<_>>().join(", ");
    let result = function.result.as_ref().map(|result| format!(" -> {}", reference(resolve, result)));
    format!("func({parameters}){}", result.unwrap_or_default())
}

/// The text of a type where it is defined.
fn definition(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let list = |items: Vec<String>| format!("{} {{ {} }}", kind.as_str(), items.join(", "));
    match kind {
        TypeDefKind::Record(record) => {
            list(record.fields.iter().map(|item| field(resolve, &item.name, &item.ty)).collect())
        }
        TypeDefKind::Variant(variant) => {
            let case = |item: &wit_parser::Case| format!("{}({})", item.name, optional(resolve, item.ty.as_ref()));
            list(variant.cases.iter().map(case).collect())
        }
        TypeDefKind::Enum(cases) => list(cases.cases.iter().map(|case| case.name.clone()).collect()),
        TypeDefKind::Flags(flags) => list(flags.flags.iter().map(|flag| flag.name.clone()).collect()),
        TypeDefKind::Resource => "resource".to_owned(),
        anonymous => structure(resolve, anonymous),
    }
}

/// The text of a type where it is used: its name, or its structure if it has none.
fn reference(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let found = &resolve.types[*id];
    found.name.clone().unwrap_or_else(|| structure(resolve, &found.kind))
}

fn structure(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let reference = |ty: &Type| reference(resolve, ty);
    match kind {
        TypeDefKind::Type(ty) => reference(ty),
        TypeDefKind::Option(ty) => format!("option<{}>", reference(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", reference(ty)),
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(reference).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", optional(resolve, result.ok.as_ref()), optional(resolve, result.err.as_ref()))
        }
        TypeDefKind::Handle(Handle::Own(id)) => reference(&Type::Id(*id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", reference(&Type::Id(*id))),
        other => panic!("the contract has a {}: add it to this test", other.as_str()),
    }
}

fn field(resolve: &Resolve, name: &str, ty: &Type) -> String {
    format!("{name}: {}", reference(resolve, ty))
}

fn optional(resolve: &Resolve, ty: Option<&Type>) -> String {
    ty.map_or_else(|| "_".to_owned(), |ty| reference(resolve, ty))
}
