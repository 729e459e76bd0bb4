//! The contract of a later patch version: the package in `next/` is `wit/` at version 0.2.1, with
//! one more method and one more interface.
//!
//! [`Host`] provides its functions, so that components can be linked. No test calls them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use wasmtime::component::Resource;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use bindings::ampoule::injector::{
    admission::{self, Delivery, InitContainer, InitContainerPosition, Pod, Request, Volume},
    cache, clock, conventions,
    fetching::{self, Promise},
    kubernetes_secrets::{self, LookupError},
    log::{self, Level},
};

pub(super) use bindings::{FetchingPlugin, exports::ampoule::injector::injector::GuestIndices};

/// The version of the package.
pub(super) const VERSION: &str = "0.2.1";

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

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({ path: "tests/guests/next", world: "fetching-plugin" });
}

/// A host of version 0.2.1.
pub(super) struct Host;

/// Implements traits of the bindings with functions that no test calls.
macro_rules! uncalled {
    ($($trait:path {
        $($function:ident($($argument:ty),*) $(-> $result:ty)?;)*
    })*) => {$(
        impl $trait for Host {
            $(fn $function(&mut self $(, _: $argument)*) $(-> $result)? {
                unreachable!("the components of this test are only linked")
            })*
        }
    )*};
}

/// The result of an edit.
type Edited = Result<(), String>;
/// Pairs of keys and values.
type Pairs = Vec<(String, String)>;

uncalled! {
    admission::Host {}
    admission::HostPod {
        namespace(Resource<Pod>) -> String;
        name(Resource<Pod>) -> String;
        service_account(Resource<Pod>) -> String;
        operating_system(Resource<Pod>) -> Option<String>;
        label(Resource<Pod>, String) -> Option<String>;
        annotation(Resource<Pod>, String) -> Option<String>;
        labels(Resource<Pod>) -> Pairs;
        annotations(Resource<Pod>) -> Pairs;
        containers(Resource<Pod>) -> Vec<String>;
        init_containers(Resource<Pod>) -> Vec<String>;
        image(Resource<Pod>, String) -> Option<String>;
        node_selector(Resource<Pod>, String) -> Option<String>;
        drop(Resource<Pod>) -> wasmtime::Result<()>;
    }
    admission::HostRequest {
        group(Resource<Request>) -> String;
        group_version(Resource<Request>) -> String;
        key(Resource<Request>) -> String;
        deliver_as(Resource<Request>) -> Delivery;
        env_var(Resource<Request>) -> Option<String>;
        set_env(Resource<Request>, String, String) -> Edited;
        set_env_from_secret(Resource<Request>, String, String, String, bool) -> Edited;
        set_env_from_promise(Resource<Request>, String, String) -> Edited;
        write_file_from_secret(Resource<Request>, String, String, String, Option<u32>, bool) -> Edited;
        write_file_from_promise(Resource<Request>, String, String, Option<u32>) -> Edited;
        pull_secret_from_promise(Resource<Request>, String) -> Edited;
        add_volume(Resource<Request>, String, Resource<Volume>) -> Edited;
        mount(Resource<Request>, String, String, bool, Option<String>) -> Edited;
        add_init_container(Resource<Request>, Resource<InitContainer>) -> Edited;
        set_annotation(Resource<Request>, String, String, bool) -> Edited;
        add_image_pull_secret(Resource<Request>, String) -> Edited;
        discard_edits(Resource<Request>);
        warn(Resource<Request>, String);
        not_found(Resource<Request>, String);
        unsupported(Resource<Request>, String);
        invalid(Resource<Request>, String);
        denied(Resource<Request>, String);
        unavailable(Resource<Request>, String, Option<u32>);
        internal(Resource<Request>, String);
        drop(Resource<Request>) -> wasmtime::Result<()>;
    }
    admission::HostVolume {
        secret(String) -> Resource<Volume>;
        memory() -> Resource<Volume>;
        csi(String) -> Resource<Volume>;
        service_account_token(String) -> Resource<Volume>;
        json(String) -> Result<Resource<Volume>, String>;
        item(Resource<Volume>, String, String);
        optional(Resource<Volume>);
        size_limit(Resource<Volume>, String);
        attribute(Resource<Volume>, String, String);
        node_publish_secret(Resource<Volume>, String);
        writable(Resource<Volume>);
        audience(Resource<Volume>, String);
        expiration(Resource<Volume>, u32);
        drop(Resource<Volume>) -> wasmtime::Result<()>;
    }
    admission::HostInitContainer {
        new(String, String) -> Resource<InitContainer>;
        command(Resource<InitContainer>, Vec<String>);
        args(Resource<InitContainer>, Vec<String>);
        env(Resource<InitContainer>, String, String);
        env_from_secret(Resource<InitContainer>, String, String, String, bool);
        mount(Resource<InitContainer>, String, String, bool);
        resources(Resource<InitContainer>, Pairs, Pairs);
        restricted(Resource<InitContainer>);
        run_as_user(Resource<InitContainer>, u32);
        run_as_group(Resource<InitContainer>, u32);
        read_only_root_filesystem(Resource<InitContainer>);
        position(Resource<InitContainer>, InitContainerPosition);
        merge_json(Resource<InitContainer>, String) -> Edited;
        drop(Resource<InitContainer>) -> wasmtime::Result<()>;
    }
    fetching::Host {}
    fetching::HostPromise {
        text(Resource<Promise>) -> String;
        value(Resource<Promise>, Vec<u8>);
        version(Resource<Promise>, String);
        expires_in(Resource<Promise>, u32);
        not_found(Resource<Promise>, String);
        unsupported(Resource<Promise>, String);
        invalid(Resource<Promise>, String);
        denied(Resource<Promise>, String);
        unavailable(Resource<Promise>, String, Option<u32>);
        internal(Resource<Promise>, String);
        drop(Resource<Promise>) -> wasmtime::Result<()>;
    }
    conventions::Host {
        profile() -> String;
        env_prefix() -> String;
        mount_directory() -> String;
    }
    log::Host {
        log(Level, String);
    }
    cache::Host {
        get(String) -> Option<Vec<u8>>;
        set(String, Vec<u8>, u32);
    }
    clock::Host {
        seconds() -> u64;
    }
    kubernetes_secrets::Host {
        read(String, String, String) -> Result<Vec<u8>, LookupError>;
        exists(String, String, String) -> Result<bool, LookupError>;
    }
    WasiView {
        ctx() -> WasiCtxView<'_>;
    }
    WasiHttpView {
        http() -> WasiHttpCtxView<'_>;
    }
}

/// The folder with the files of the package.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/next")
}

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
            "next/{file} differs from wit/{file}; run `cargo xtask bless` and review the change"
        );
    }
}
