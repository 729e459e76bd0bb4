//! Programs that read the files of `deploy`: [`Renderers`], with Helm and kubectl as `cargo xtask
//! setup` installs them, and the models of custom resources.
//!
//! A missing program is an error that names the command to run; tests are never skipped.

use std::{
    ffi::OsStr,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::programs;

/// The name of the folder holds the hash of these.
const PINS: [&[u8]; 2] = [include_bytes!("../deploy/programs.txt"), include_bytes!("../deploy/requirements.txt")];
/// The name of the environment with Flyte's SDKs holds the hash of these.
const SDKS: &[u8] = include_bytes!("../sdks/requirements.txt");
/// The name of the environment with `typos` holds the hash of these.
const TYPOS: &[u8] = include_bytes!("../typos/requirements.txt");
/// The name of the environment with `moto` holds the hash of these.
const MOTO: &[u8] = include_bytes!("../stores/requirements.txt");
/// The name of the folder with componentize-js, componentize-py and Zig holds the hash of these.
const LANGUAGES: [&[u8]; 3] = [
    include_bytes!("../authors/requirements.txt"),
    include_bytes!("../../plugins/examples/javascript/package-lock.json"),
    include_bytes!("../../plugins/examples/javascript/package.json"),
];

/// The name of the folder with axe-core holds the hash of these.
const AXE: [&[u8]; 2] = [include_bytes!("../axe/package-lock.json"), include_bytes!("../axe/package.json")];

/// The programs, and the checkout that they read.
pub struct Renderers {
    folder: PathBuf,
    root: PathBuf,
}

// === impl Renderers ===

impl Renderers {
    /// Finds the programs in `$AMPOULE_RENDERERS`, or in the cache folder.
    ///
    /// # Errors
    ///
    /// If they are not installed.
    pub fn find() -> Result<Self> {
        let folder = made("AMPOULE_RENDERERS", "deploy", &PINS.concat())?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("tests/ has a parent folder")?;
        Ok(Self { folder, root: root.to_owned() })
    }

    /// The objects of a kustomization, in the order of its documents.
    ///
    /// # Errors
    ///
    /// Kustomize's own.
    pub fn kustomize(&self, folder: &Path) -> Result<Vec<Value>> {
        documents(&self.run("kubectl", [OsStr::new("kustomize"), self.root.join(folder).as_os_str()])?)
    }

    /// The objects of the chart for a release, without the notes.
    ///
    /// # Errors
    ///
    /// Helm's own, including those of the values' schema.
    pub fn helm(&self, release: &str, namespace: &str, values: &[&str]) -> Result<Vec<Value>> {
        let chart = self.root.join("deploy/chart");
        let words = ["template", release, "--namespace", namespace].into_iter().chain(values.iter().copied());
        let words: Vec<_> = words.map(OsStr::new).chain([chart.as_os_str()]).collect();
        documents(&self.run("helm", words)?)
    }

    /// Custom resources as the models of their kinds parse them; fields unknown to a model are
    /// dropped.
    ///
    /// # Errors
    ///
    /// If a model rejects an object.
    pub fn understood(&self, objects: &[Value]) -> Result<Vec<Value>> {
        let mut input = tempfile::tempfile()?;
        input.write_all(&serde_json::to_vec(objects)?)?;
        input.seek(SeekFrom::Start(0))?;
        let mut python = Command::new(sdks()?.join("bin/python"));
        python.arg(self.root.join("tests/deploy/models.py")).env("PYTHONPATH", self.folder.join("models")).stdin(input);
        Ok(serde_json::from_str(&stdout_of(&mut python)?)?)
    }

    /// One of the programs, in the folder of the checkout.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.current_dir(&self.root);
        command
    }

    fn run<'a>(&self, program: &str, words: impl IntoIterator<Item = &'a OsStr>) -> Result<String> {
        stdout_of(self.program(program).args(words))
    }
}

/// The environment with Flyte's SDKs: `$AMPOULE_SDKS`, or the one in the cache folder.
///
/// # Errors
///
/// If it does not exist.
pub fn sdks() -> Result<PathBuf> {
    made("AMPOULE_SDKS", "sdks", SDKS)
}

/// The folder with the tools that build plugins in JavaScript, Python and C: `$AMPOULE_LANGUAGES`,
/// or the one in the cache folder.
///
/// # Errors
///
/// If it does not exist.
pub fn languages() -> Result<PathBuf> {
    made("AMPOULE_LANGUAGES", "languages", &LANGUAGES.concat())
}

/// The script of the accessibility checker axe-core, from `$AMPOULE_AXE` or the cache folder.
///
/// # Errors
///
/// If it does not exist.
pub fn axe() -> Result<String> {
    let file = made("AMPOULE_AXE", "axe", &AXE.concat())?.join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&file).with_context(|| file.display().to_string())
}

/// The environment with the spelling checker: `$AMPOULE_TYPOS`, or the one in the cache folder.
///
/// # Errors
///
/// If it does not exist.
pub fn typos() -> Result<PathBuf> {
    made("AMPOULE_TYPOS", "typos", TYPOS)
}

/// The environment with `moto`, a server with the API of AWS Secrets Manager: `$AMPOULE_MOTO`, or
/// the one in the cache folder.
///
/// # Errors
///
/// If it does not exist.
pub fn moto() -> Result<PathBuf> {
    made("AMPOULE_MOTO", "moto", MOTO)
}

/// A folder that `cargo xtask setup` made, with a name from the hash of its pins.
fn made(variable: &str, kind: &str, pins: &[u8]) -> Result<PathBuf> {
    let in_cache = || {
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(pins));
        Some(programs::cache()?.join("ampoule").join(format!("{kind}-{}", &hash[..16])))
    };
    let folder = programs::setting(variable).map(PathBuf::from).or_else(in_cache).context("HOME is not set")?;
    ensure!(folder.join("complete").is_file(), "no {} here: run `cargo xtask test`, which gets it", folder.display());
    Ok(folder)
}

/// The standard output of a successful command.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    }
    Ok(String::from_utf8(stdout)?)
}

/// Documents without a key are left out.
fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(documents.into_iter().filter(Value::is_object).collect())
}
