//! `ampoule plugin build`: a plugin's folder becomes `plugin.wasm` in it, by the tools of its language.
//!
//! Rust is built as the built-in plugins are. For another language its own tool is run, as a person would run it; what is missing
//! is named with the command that brings it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use ampoule_plugin_build::{Crates, Request, Toolchain, build, c_bindings, component_of_c};
use anyhow::{Context as _, bail, ensure};

use super::COMPONENT;
use crate::{
    args::{BuildArgs, Language},
    commands::output,
};

/// What SpiderMonkey would ask the host for: a component without them imports no WASI.
const DISABLED: [&str; 5] = ["http", "random", "clocks", "stdio", "fetch-event"];

/// How C is compiled. A reactor has functions and no `main`; its library imports of WASI what the plugin uses, which should be nothing.
/// The stack is that of a plugin in Rust: Zig's own has 16 MiB, which is all the memory that a plugin has.
const C_COMPILER: [&str; 9] =
    ["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-Wl,-z,stack-size=65536", "-Wall", "-Os", "-s", "-o"];
/// What a plugin in C is called by.
const C_SOURCE: &str = "injector.c";
/// Where the contract in C and the module are, in a plugin's folder.
const BINDINGS: &str = "bindings";

pub(crate) fn plugin_build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let BuildArgs { folder } = args;
    // The tools run in the folder.
    let folder = folder.canonicalize().with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let language = Language::of(&folder)?;
    ensure!(
        language == Language::Rust || folder.join("wit").is_dir(),
        "there is no wit/ beside the plugin: copy it from a folder that `ampoule plugin new` makes"
    );
    match language {
        Language::Rust => rust(&folder)?,
        Language::Javascript => javascript(&folder)?,
        Language::Python => python(&folder)?,
        Language::C => c(&folder)?,
    }
    let component = args.folder.join(COMPONENT);
    let size = fs::metadata(&component).with_context(|| format!("the build left no {}", component.display()))?.len();
    output::print(&format!("{}, {} KiB\n", component.display(), size.div_ceil(1 << 10)))?;
    Ok(ExitCode::SUCCESS)
}

// === impl Language ===

impl Language {
    /// The file that a plugin of this language has in its folder.
    fn mark(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Javascript => "plugin.js",
            Self::Python => "app.py",
            Self::C => C_SOURCE,
        }
    }

    /// The language of the plugin in a folder.
    pub(super) fn of(folder: &Path) -> anyhow::Result<Self> {
        let all = <Self as clap::ValueEnum>::value_variants();
        let found = all.iter().find(|language| folder.join(language.mark()).is_file());
        found.copied().with_context(|| {
            let marks: Vec<_> = all.iter().map(|language| language.mark()).collect();
            format!("{} holds no plugin: there is none of {}", folder.display(), marks.join(", "))
        })
    }
}

fn rust(folder: &Path) -> anyhow::Result<()> {
    let request =
        Request { workspace: folder.to_owned(), target_dir: folder.join("target"), crates: Crates::OwnLibrary };
    let artifacts = build(&Toolchain::find()?, &request)?;
    let artifact = artifacts.first().context("the crate has no library")?;
    write(folder, &artifact.component)
}

fn javascript(folder: &Path) -> anyhow::Result<()> {
    let tool = tool(folder, "node_modules/.bin", "componentize-js", "`npm ci` there, with Node.js 20 or newer")?;
    let mut command = Command::new(tool);
    command.args(["plugin.js", "--wit", "wit", "--world-name", "plugin", "--out", COMPONENT, "--disable"]);
    run(command.args(DISABLED).current_dir(folder))
}

fn python(folder: &Path) -> anyhow::Result<()> {
    let tool = tool(folder, ".venv/bin", "componentize-py", "`pip install -r requirements.txt` there")?;
    let mut command = Command::new(tool);
    command.args([
        "--wit-path",
        "wit",
        "--world",
        "plugin",
        "componentize",
        "--stub-wasi",
        "app",
        "--output",
        COMPONENT,
    ]);
    run(command.current_dir(folder))
}

fn c(folder: &Path) -> anyhow::Result<()> {
    let compiler = tool(folder, ".venv/bin", "python-zig", "`pip install -r requirements.txt` there")?;
    let bindings = Path::new(BINDINGS);
    c_bindings(&folder.join("wit"), "plugin", &folder.join(bindings))?;
    let module = bindings.join("module.wasm");
    let mut command = Command::new(compiler);
    command.args(C_COMPILER).args([&module, Path::new(C_SOURCE)]);
    command.args(["plugin.c", "plugin_component_type.o"].map(|file| bindings.join(file)));
    run(command.current_dir(folder))?;
    write(folder, &component_of_c(&folder.join(module))?)
}

fn write(folder: &Path, component: &[u8]) -> anyhow::Result<()> {
    fs::write(folder.join(COMPONENT), component).with_context(|| format!("cannot write {COMPONENT}"))
}

/// A program in a part of the plugin's folder, or else on the path.
fn tool(folder: &Path, below: &str, name: &str, remedy: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(folder.join(below)).chain(env::split_paths(&path));
    let found = places.find_map(|place| Some(place.join(name)).filter(|program| program.is_file()));
    found
        .with_context(|| format!("{name} is neither in {} nor on the path: run {remedy}", folder.join(below).display()))
}

/// Runs a tool; what it says goes to stderr.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let status = status.with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status}); its messages are above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_makes_a_folder_a_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let error = Language::of(folder.path()).unwrap_err().to_string();
        let expected = "DIR holds no plugin: there is none of Cargo.toml, plugin.js, app.py, injector.c";
        assert_eq!(error.replace(folder.path().to_str().unwrap(), "DIR"), expected);
        fs::write(folder.path().join("app.py"), "").unwrap();
        assert_eq!(Language::of(folder.path()).unwrap(), Language::Python);
    }

    #[test]
    fn says_which_tool_is_missing_and_what_brings_it() {
        let error = tool(Path::new("/plugin"), ".venv/bin", "no-such-tool", "`pip install it` there").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-tool is neither in /plugin/.venv/bin nor on the path: run `pip install it` there"
        );
    }
}
