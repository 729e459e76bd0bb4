//! `ampoule plugin build`: builds `plugin.wasm` in a plugin's directory with the tools of its
//! language.
//!
//! Rust plugins are built like the built-in plugins. For other languages, the command runs the
//! language's own tool. If a tool is missing, the error names the command that installs it, and
//! nothing changes. A failed build leaves no `plugin.wasm`, so that no other command uses an old
//! one.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use ampoule_plugin_build::{Crates, Request, Toolchain, build, c_bindings, component_of_c, world_imports};
use anyhow::{Context as _, anyhow, bail, ensure};

use crate::{
    args::{BuildArgs, Language},
    commands::{component::COMPONENT, output, progress::Progress},
};

/// The WIT of a plugin, in its directory, and the name of its world.
const WIT: &str = "wit";
const WORLD: &str = "plugin";

/// A feature of componentize-js: the import that needs it. The others need no grant, or are
/// harmless without one: every WASI interface exists in the host.
const FETCH: (&str, &str) = ("http", "wasi:http/outgoing-handler@");
/// The feature of componentize-js for servers.
const SERVER: &str = "fetch-event";
/// The module that componentize-js builds, in the directory of generated files. It replaces `fetch`
/// before the plugin's own module runs.
const ENTRY: &str = "entry.js";
const NO_FETCH: &str = "no-fetch.js";

/// The C compiler and its flags. A reactor exports functions and has no `main`. Its C library
/// imports only the WASI functions that the plugin uses, ideally none. The stack is as large as in
/// Rust plugins: Zig's default of 16 MiB equals the whole memory limit of a plugin.
const C_COMPILER: [&str; 9] =
    ["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-Wl,-z,stack-size=65536", "-Wall", "-Os", "-s", "-o"];
/// The directory for generated files, in the plugin's directory.
const BINDINGS: &str = "bindings";
/// The directory of a virtual environment, in the plugin's directory.
const VENV: &str = ".venv";
const PIP: &str = "`python3 -m venv .venv`, then `.venv/bin/pip install -r requirements.txt` in the plugin directory";

pub(crate) fn plugin_build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    // The tools run in the directory, so its path must be absolute.
    let folder =
        args.folder.canonicalize().with_context(|| format!("cannot read the directory {}", args.folder.display()))?;
    let language = Language::detect(&folder)?;
    ensure_tools(language, &folder)?;
    remove_component(&folder)?;
    if let Err(error) = build_component(language, &folder) {
        remove_component(&folder)?;
        return Err(error);
    }
    let component = args.folder.join(COMPONENT);
    let size =
        fs::metadata(&component).with_context(|| format!("the build did not create {}", component.display()))?.len();
    output::print(&format!("{}, {} KiB\n", component.display(), size.div_ceil(1 << 10)))?;
    Ok(ExitCode::SUCCESS)
}

fn build_component(language: Language, folder: &Path) -> anyhow::Result<()> {
    ensure!(
        language == Language::Rust || folder.join(WIT).is_dir(),
        "the plugin directory has no wit/: copy it from a directory created by `ampoule plugin new`"
    );
    match language {
        Language::Rust => rust(folder),
        Language::Javascript => javascript(folder),
        Language::Python => python(folder),
        Language::C => c(folder),
    }
}

/// Fails if a tool of the language is missing.
fn ensure_tools(language: Language, folder: &Path) -> anyhow::Result<()> {
    match language {
        Language::Rust => rust_toolchain().map(drop),
        Language::Javascript => componentize_js(folder).map(drop),
        Language::Python => componentize_py(folder).map(drop),
        Language::C => zig(folder).map(drop),
    }
}

fn rust_toolchain() -> anyhow::Result<Toolchain> {
    Toolchain::find().map_err(|missing| anyhow!(missing.author_message()))
}

fn componentize_js(folder: &Path) -> anyhow::Result<PathBuf> {
    let install = "`npm ci` in the plugin directory, with Node.js 20.19 or newer";
    tool(folder, "node_modules/.bin", "componentize-js", install)
}

fn componentize_py(folder: &Path) -> anyhow::Result<PathBuf> {
    tool(folder, &format!("{VENV}/bin"), "componentize-py", PIP)
}

fn zig(folder: &Path) -> anyhow::Result<PathBuf> {
    tool(folder, &format!("{VENV}/bin"), "python-zig", PIP)
}

fn rust(folder: &Path) -> anyhow::Result<()> {
    let request = Request { workspace: folder.to_owned(), target_dir: target_dir(folder)?, crates: Crates::OwnLibrary };
    let artifacts = build(&rust_toolchain()?, &request)?;
    let artifact = artifacts.first().context("the crate has no library")?;
    write(folder, &artifact.component)
}

/// Returns cargo's target directory: `CARGO_TARGET_DIR`, or `target` in the plugin's directory.
fn target_dir(folder: &Path) -> anyhow::Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR").filter(|set| !set.is_empty()) {
        Some(set) => std::path::absolute(set).context("cannot read CARGO_TARGET_DIR"),
        None => Ok(folder.join("target")),
    }
}

fn javascript(folder: &Path) -> anyhow::Result<()> {
    check_syntax(folder)?;
    let tool = componentize_js(folder)?;
    let (http, import) = FETCH;
    let imports = world_imports(&folder.join(WIT), WORLD)?;
    let mut command = Command::new(tool);
    if imports.iter().any(|name| name.starts_with(import)) {
        command.arg(Language::Javascript.marker_file()).args(["--disable", SERVER]);
    } else {
        command.arg(entry_without_fetch(folder)?).args(["--disable", SERVER, http]);
    }
    command.args(["--wit", WIT, "--world-name", WORLD, "--out", COMPONENT]);
    run(command.current_dir(folder))
}

/// Fails for a module with a syntax error. componentize-js reports such an error without its place.
fn check_syntax(folder: &Path) -> anyhow::Result<()> {
    let plugin = Language::Javascript.marker_file();
    let mut node = Command::new("node");
    node.args(["--check", plugin]).current_dir(folder).stdin(Stdio::null()).stdout(io::stderr());
    match node.status() {
        Ok(status) if !status.success() => bail!("{plugin} has a syntax error; see the output of node above"),
        // Without node, componentize-js reports the error.
        _ => Ok(()),
    }
}

/// Writes a module that replaces `fetch`, and one that imports it before the plugin. Without HTTP,
/// the engine's own `fetch` traps.
fn entry_without_fetch(folder: &Path) -> anyhow::Result<PathBuf> {
    let advice = "fetch is not available: the plugin needs the import wasi:http/outgoing-handler in wit/world.wit";
    let replacement = format!("globalThis.fetch = () => {{ throw new Error({advice:?}); }};\n");
    let plugin = Language::Javascript.marker_file();
    let entry = format!("import './{NO_FETCH}';\nexport * from '../{plugin}';\n");
    let bindings = folder.join(BINDINGS);
    fs::create_dir_all(&bindings).with_context(|| format!("cannot create {}", bindings.display()))?;
    for (name, text) in [(NO_FETCH, replacement), (ENTRY, entry)] {
        let path = bindings.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Path::new(BINDINGS).join(ENTRY))
}

fn python(folder: &Path) -> anyhow::Result<()> {
    let tool = componentize_py(folder)?;
    let mut command = Command::new(tool);
    command.args(["--wit-path", WIT, "--world", WORLD, "componentize", "app", "--output", COMPONENT]);
    let venv = folder.join(VENV);
    if venv.is_dir() {
        // The tool reads the plugin's packages from there.
        command.env("VIRTUAL_ENV", venv);
    }
    run(command.current_dir(folder))
}

fn c(folder: &Path) -> anyhow::Result<()> {
    let compiler = zig(folder)?;
    let bindings = Path::new(BINDINGS);
    c_bindings(&folder.join(WIT), WORLD, &folder.join(bindings))?;
    let module = bindings.join("module.wasm");
    let mut command = Command::new(compiler);
    command.args(C_COMPILER).args([&module, Path::new(Language::C.marker_file())]);
    command.args(["plugin.c", "plugin_component_type.o"].map(|file| bindings.join(file)));
    run(command.current_dir(folder))?;
    write(folder, &component_of_c(&folder.join(module))?)
}

fn write(folder: &Path, component: &[u8]) -> anyhow::Result<()> {
    fs::write(folder.join(COMPONENT), component).with_context(|| format!("cannot write {COMPONENT}"))
}

fn remove_component(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_file(folder.join(COMPONENT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the old {COMPONENT}"))
        }
        _ => Ok(()),
    }
}

/// Finds a program in a subdirectory of the plugin's directory or in `PATH`.
fn tool(folder: &Path, below: &str, name: &str, remedy: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(folder.join(below)).chain(env::split_paths(&path));
    let found = places.find_map(|place| Some(place.join(name)).filter(|program| program.is_file()));
    found.with_context(|| format!("{name} not found in {} or PATH: run {remedy}", folder.join(below).display()))
}

/// Runs a tool. Its output is written to stderr.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let progress = Progress::start(&format!("running {name}"));
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    drop(progress);
    let status = status.with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status}); see its output above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_missing_tool_and_the_command_that_installs_it() {
        let error = tool(Path::new("/plugin"), ".venv/bin", "no-such-tool", "`pip install it` in the plugin directory")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-tool not found in /plugin/.venv/bin or PATH: run `pip install it` in the plugin directory"
        );
    }
}
