//! A host with a later version of the contract: the package in `wit/` is the contract at version
//! 0.2.1, with one more method and one more interface.
//!
//! Components that were built for version 0.2.0 must link with it. [`ContractHost`] links them, and
//! [`without_code`] makes that fast for large components.

mod code;
mod host;

use std::path::{Path, PathBuf};

use wasmtime::{
    Config, Engine, OptLevel,
    component::{Component, HasSelf, Linker, types::ComponentItem},
};

pub use code::without_code;

use host::{
    UncalledHost,
    bindings::{FetchingPlugin, exports::ampoule::injector::injector::GuestIndices},
};

/// The version of the package.
pub const VERSION: &str = "0.2.1";

/// The folder with the files of the package.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wit")
}

/// A host that links components, and checks that they export what it calls. Compiles quickly.
pub struct ContractHost {
    engine: Engine,
    linker: Linker<UncalledHost>,
}

// === impl ContractHost ===

impl ContractHost {
    /// A host of version 0.2.1.
    ///
    /// # Panics
    ///
    /// If wasmtime does not accept the functions of the package.
    #[must_use]
    pub fn next() -> Self {
        Self::new(|linker| {
            FetchingPlugin::add_to_linker::<_, HasSelf<_>>(linker, |host: &mut UncalledHost| host)?;
            wasmtime_wasi::p2::add_to_linker_async(linker)?;
            wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
        })
    }

    /// A host of version 0.3.0. It has one function, with the type of version 0.2.0.
    ///
    /// # Panics
    ///
    /// If wasmtime does not accept the function.
    #[must_use]
    pub fn breaking() -> Self {
        Self::new(|linker| {
            let mut log = linker.instance("ampoule:injector/log@0.3.0")?;
            log.func_new("log", |_, _, _, _| Ok(()))
        })
    }

    fn new(add: impl FnOnce(&mut Linker<UncalledHost>) -> wasmtime::Result<()>) -> Self {
        // One thread: other tests of a program have deadlines.
        let config = Config::new().cranelift_opt_level(OptLevel::None).parallel_compilation(false).clone();
        let engine = Engine::new(&config).expect("the configuration is valid");
        let mut linker = Linker::new(&engine);
        add(&mut linker).expect("no function is defined twice");
        Self { engine, linker }
    }

    /// The reason why the host cannot run a component.
    ///
    /// # Panics
    ///
    /// If the bytes are no component.
    #[must_use]
    pub fn refusal(&self, component: &[u8]) -> Option<String> {
        let component = Component::new(&self.engine, component).expect("the component is valid");
        let linked = self.linker.instantiate_pre(&component);
        linked.and_then(|instance| GuestIndices::new(&instance)).err().map(|error| format!("{error:#}"))
    }

    /// The functions that a component imports from an interface.
    ///
    /// # Panics
    ///
    /// If the bytes are no component.
    #[must_use]
    pub fn imported_functions(&self, component: &[u8], interface: &str) -> Vec<String> {
        let component = Component::new(&self.engine, component).expect("the component is valid").component_type();
        let import = component.get_import(&self.engine, interface).map(|import| import.ty);
        let Some(ComponentItem::ComponentInstance(instance)) = import else { return Vec::new() };
        let items = instance.exports(&self.engine);
        let functions = items.filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
        functions.map(|(name, _)| name.to_owned()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic fails the test")]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    /// Each difference of a file: a line of `wit/`, and the lines that replace it.
    const DIFFERENCES: [(&str, &str, &str); 3] = [
        ("world.wit", "package ampoule:injector@0.2.0;\n", "package ampoule:injector@0.2.1;\n"),
        ("world.wit", "    import cache;\n", "    import cache;\n    import clock;\n"),
        (
            "admission.wit",
            "        image: func(container: string) -> option<string>;\n",
            "        image: func(container: string) -> option<string>;\n        \
             /// The value of a key of `spec.nodeSelector`.\n        \
             node-selector: func(key: string) -> option<string>;\n",
        ),
    ];

    /// The new interface.
    const CLOCK: &str = "/// The time of the admission.\n\
                         interface clock {\n    \
                             /// Seconds since the start of 1970.\n    \
                             seconds: func() -> u64;\n\
                         }\n";

    /// The WIT files of a folder, by name.
    fn files(folder: &Path) -> BTreeMap<String, String> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let wit = paths.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
        wit.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
            .collect()
    }

    /// The files of `wit/`, with the differences.
    fn expected() -> BTreeMap<String, String> {
        let mut expected = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit"));
        for (file, line, replacement) in DIFFERENCES {
            let text = expected.get_mut(file).unwrap();
            assert_eq!(text.matches(line).count(), 1, "wit/{file} contains this line once: {line}");
            *text = text.replace(line, replacement);
        }
        assert_eq!(expected.insert("clock.wit".to_owned(), CLOCK.to_owned()), None);
        expected
    }

    /// `cargo xtask bless` writes the files.
    #[test]
    fn the_copy_equals_the_contract_except_for_its_additions() {
        let expected = expected();
        if std::env::var_os("INSTA_UPDATE").is_some_and(|mode| mode == "always") {
            for (file, text) in &expected {
                fs::write(folder().join(file), text).unwrap();
            }
        }
        let found = files(&folder());
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (file, text) in expected {
            assert!(
                found[&file] == text,
                "tests/next/wit/{file} differs from wit/{file}; run `cargo xtask bless` and review the change"
            );
        }
    }
}
