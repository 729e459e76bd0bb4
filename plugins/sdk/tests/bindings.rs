//! The bindings in `src/bindings/generated.rs` are those that `wit-bindgen` generates from the
//! contract in `wit/`.

use std::{env, fs, path::Path};

use wit_bindgen_core::{Files, WorldGenerator as _, wit_parser::Resolve};

#[test]
fn the_bindings_are_current() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (file, new) = (package.join("src/bindings/generated.rs"), generate(&package.join("wit")));
    // As `cargo xtask bless` sets it for snapshots.
    if env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        fs::write(&file, &new).expect("the file can be written");
    }
    let old = fs::read_to_string(&file).unwrap_or_default();
    assert!(old == new, "the bindings do not follow plugins/sdk/wit: run `cargo xtask bless the_bindings_are_current`");
}

fn generate(wit: &Path) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).expect("the contract is valid");
    let world = resolve.select_world(&[package], Some("fetching-plugin")).expect("the contract has this world");
    let options = wit_bindgen_rust::Opts {
        format: true,
        default_bindings_module: Some("ampoule_plugin_sdk::bindings".to_owned()),
        export_macro_name: Some("export_component".to_owned()),
        pub_export_macro: true,
        runtime_path: Some("::wit_bindgen::rt".to_owned()),
        ..wit_bindgen_rust::Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files).expect("the contract has bindings");
    let (_, content) = files.iter().next().expect("one file");
    String::from_utf8(content.to_vec()).expect("Rust is text")
}
