//! `ampoule portable`: writes components and their portable code to a directory, and `index.json`
//! with the digest of each.
//!
//! `ampoule-fetch` finds the files in the directory `components` of an image. The image must be
//! made with the version of Ampoule that runs in the pods: the code depends on it.

use std::{borrow::Cow, fs, path::Path, process::ExitCode};

use ampoule_engine::{Allocation, digest, precompile};
use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::args::PortableArgs;

pub(crate) fn portable(args: &PortableArgs, builtins: &[(&str, &[u8])]) -> anyhow::Result<ExitCode> {
    let folder = &args.directory;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut index = Map::new();
    for (name, component) in components(args, builtins)? {
        let code = precompile(&component, Allocation::Portable)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{name} cannot be compiled"))?;
        let digest = digest(&component);
        write(&folder.join(&digest).with_extension("wasm"), &component)?;
        write(&folder.join(&digest).with_extension("cwasm"), &code)?;
        index.insert(name, digest.into());
    }
    write(&folder.join("index.json"), Value::Object(index).to_string().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The components to write, by their name.
fn components<'b>(args: &PortableArgs, builtins: &[(&str, &'b [u8])]) -> anyhow::Result<Vec<(String, Cow<'b, [u8]>)>> {
    if args.components.is_empty() {
        let builtin = |(name, component): &(&str, &'b [u8])| ((*name).to_owned(), Cow::Borrowed(*component));
        return Ok(builtins.iter().map(builtin).collect());
    }
    let mut found = Vec::new();
    for path in &args.components {
        let component = fs::read(path).with_context(|| path.display().to_string())?;
        found.push((path.display().to_string(), Cow::Owned(component)));
    }
    Ok(found)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())
}
