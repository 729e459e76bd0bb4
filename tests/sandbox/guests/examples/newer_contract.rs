//! Exports `ampoule:injector/injector@9.0.0`, a version of the contract that does not exist.
//!
//! The host refuses it at load and names both versions.

struct NewerContract;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    use super::NewerContract;

    wit_bindgen::generate!({
        inline: r"
            package ampoule:injector@9.0.0;

            interface injector {
                describe: func() -> string;
            }

            world plugin {
                export injector;
            }
        ",
    });

    impl exports::ampoule::injector::injector::Guest for NewerContract {
        fn describe() -> String {
            "a plugin of the future".to_owned()
        }
    }

    #[cfg(target_arch = "wasm32")]
    export!(NewerContract with_types_in self);
}

fn main() {}
