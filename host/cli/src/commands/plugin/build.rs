//! `ampoule plugin build`: builds `plugin.wasm` in a plugin's directory with the tools of its
//! language.
//!
//! Rust plugins are built like the built-in plugins. For other languages, the command runs the
//! language's own tool. If a tool is missing, the error names the command that installs it.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use ampoule_plugin_build::{Crates, Request, Toolchain, build, c_bindings, component_of_c};
use anyhow::{Context as _, bail, ensure};

use crate::{
    args::{BuildArgs, Language},
    commands::{component::COMPONENT, output},
};

/// The features of SpiderMonkey that import WASI interfaces. Without them, the component imports
/// none.
const DISABLED: [&str; 5] = ["http", "random", "clocks", "stdio", "fetch-event"];

/// The C compiler and its flags. A reactor exports functions and has no `main`. Its C library
/// imports only the WASI functions that the plugin uses, ideally none. The stack is as large as in
/// Rust plugins: Zig's default of 16 MiB equals the whole memory limit of a plugin.
const C_COMPILER: [&str; 9] =
    ["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-Wl,-z,stack-size=65536", "-Wall", "-Os", "-s", "-o"];
/// The directory for the generated C bindings and the module, in the plugin's directory.
const BINDINGS: &str = "bindings";

pub(crate) fn plugin_build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    // The tools run in the directory, so its path must be absolute.
    let folder =
        args.folder.canonicalize().with_context(|| format!("cannot read the directory {}", args.folder.display()))?;
    let language = Language::detect(&folder)?;
    ensure!(
        language == Language::Rust || folder.join("wit").is_dir(),
        "the plugin directory has no wit/: copy it from a directory created by `ampoule plugin new`"
    );
    match language {
        Language::Rust => rust(&folder)?,
        Language::Javascript => javascript(&folder)?,
        Language::Python => python(&folder)?,
        Language::C => c(&folder)?,
    }
    let component = args.folder.join(COMPONENT);
    let size =
        fs::metadata(&component).with_context(|| format!("the build did not create {}", component.display()))?.len();
    output::print(&format!("{}, {} KiB\n", component.display(), size.div_ceil(1 << 10)))?;
    Ok(ExitCode::SUCCESS)
}

fn rust(folder: &Path) -> anyhow::Result<()> {
    let request =
        Request { workspace: folder.to_owned(), target_dir: folder.join("target"), crates: Crates::OwnLibrary };
    let artifacts = build(&Toolchain::find()?, &request)?;
    let artifact = artifacts.first().context("the crate has no library")?;
    write(folder, &artifact.component)
}

fn javascript(folder: &Path) -> anyhow::Result<()> {
    let tool = tool(
        folder,
        "node_modules/.bin",
        "componentize-js",
        "`npm ci` in the plugin directory, with Node.js 20 or newer",
    )?;
    let mut command = Command::new(tool);
    command.args(["plugin.js", "--wit", "wit", "--world-name", "plugin", "--out", COMPONENT, "--disable"]);
    run(command.args(DISABLED).current_dir(folder))
}

fn python(folder: &Path) -> anyhow::Result<()> {
    let tool =
        tool(folder, ".venv/bin", "componentize-py", "`pip install -r requirements.txt` in the plugin directory")?;
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
    let compiler =
        tool(folder, ".venv/bin", "python-zig", "`pip install -r requirements.txt` in the plugin directory")?;
    let bindings = Path::new(BINDINGS);
    c_bindings(&folder.join("wit"), "plugin", &folder.join(bindings))?;
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
    let status = command.stdin(Stdio::null()).stdout(io::stderr()).status();
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
