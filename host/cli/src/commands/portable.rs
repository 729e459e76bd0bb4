//! `ampoule portable`: writes the built-in components and their portable code to a directory, and
//! `index.json` with the digest of each. Internal: the image contains the directory.

use std::{fs, process::ExitCode};

use ampoule_engine::{Allocation, digest, precompile};
use anyhow::Context as _;

use crate::args::PortableArgs;

pub(crate) fn portable(args: &PortableArgs, builtins: &[(&str, &[u8])]) -> anyhow::Result<ExitCode> {
    let folder = &args.directory;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut index = serde_json::Map::new();
    for (name, component) in builtins {
        let code = precompile(component, Allocation::Portable)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("the built-in plugin {name} cannot be compiled"))?;
        let digest = digest(component);
        let path = folder.join(&digest);
        index.insert((*name).to_owned(), digest.into());
        for (extension, bytes) in [("wasm", *component), ("cwasm", &code)] {
            let path = path.with_extension(extension);
            fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        }
    }
    let path = folder.join("index.json");
    fs::write(&path, serde_json::Value::Object(index).to_string()).with_context(|| path.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
