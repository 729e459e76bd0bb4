//! The functions of version 0.2.1 of the contract, with which [`ContractHost`](super::ContractHost)
//! links components.

use wasmtime::component::Resource;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use bindings::ampoule::injector::{
    admission::{self, Delivery, InitContainer, InitContainerPosition, Pod, Request, Volume},
    cache, clock, conventions,
    fetching::{self, Promise},
    kubernetes_secrets::{self, LookupError, SecretKey},
    log::{self, Level},
};

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({ path: "wit", world: "fetching-plugin" });
}

/// The functions of version 0.2.1, so that components can be linked. No test calls them.
pub(crate) struct UncalledHost;

/// Implements traits of the bindings with functions that no test calls.
macro_rules! uncalled {
    ($($trait:path {
        $($function:ident($($argument:ty),*) $(-> $result:ty)?;)*
    })*) => {$(
        impl $trait for UncalledHost {
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
        all_keys(Resource<Request>) -> bool;
        options(Resource<Request>) -> Vec<(String, String)>;
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
        first_existing(Vec<SecretKey>) -> Result<Option<u32>, LookupError>;
    }
    WasiView {
        ctx() -> WasiCtxView<'_>;
    }
    WasiHttpView {
        http() -> WasiHttpCtxView<'_>;
    }
}
