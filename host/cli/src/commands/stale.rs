//! A component that is older than its sources: [`warn_if_stale`].
//!
//! An author who forgets a build would otherwise test and push the plugin of the last build.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::output::eprint_line;

/// Directories of a plugin that contain sources.
const SOURCE_FOLDERS: [&str; 4] = ["src", "wit", "sdk", "ampoule_plugin"];
/// The extensions of sources.
const EXTENSIONS: [&str; 6] = ["rs", "js", "py", "c", "h", "wit"];
/// Files beside the component that are sources as well.
const MANIFEST: &str = "Cargo.toml";
/// Levels of directories to search.
const MAX_DEPTH: usize = 4;

/// Prints a warning if a source in the directory of a component is newer than the component.
pub(super) fn warn_if_stale(component: &Path) {
    let folder = component.parent().unwrap_or(Path::new("."));
    if let Some(source) = newer_source(component, folder) {
        let source = source.strip_prefix(folder).unwrap_or(&source).display();
        let component = component.file_name().unwrap_or_default().display();
        eprint_line(&format!("warning: {source} is newer than {component}: run `ampoule plugin build`"));
    }
}

/// Returns the newest source that is newer than the component.
fn newer_source(component: &Path, folder: &Path) -> Option<PathBuf> {
    let built = modified(component)?;
    let mut sources = Vec::new();
    add_sources(folder, 0, &mut sources);
    let newest = sources.into_iter().filter_map(|path| Some((modified(&path)?, path))).max()?;
    (newest.0 > built).then_some(newest.1)
}

fn add_sources(folder: &Path, depth: usize, sources: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && depth < MAX_DEPTH && (depth > 0 || SOURCE_FOLDERS.contains(&name)) {
            add_sources(&path, depth + 1, sources);
        } else if is_source(&path, name) {
            sources.push(path);
        }
    }
}

/// Whether a file is part of the component. A unit test is not.
fn is_source(path: &Path, name: &str) -> bool {
    let is_test = name.starts_with("test_") || name.contains(".test.");
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    name == MANIFEST || (EXTENSIONS.contains(&extension) && !is_test)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const COMPONENT: &str = "plugin.wasm";

    /// Creates a file that was changed this many seconds after the component.
    fn write(folder: &Path, name: &str, seconds: i32) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let offset = Duration::from_secs(u64::try_from(1000 + seconds).unwrap());
        fs::File::create(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + offset).unwrap();
    }

    #[test]
    fn a_newer_source_is_found_and_other_files_are_not() {
        for (name, seconds, is_newer) in [
            ("plugin.js", 1, true),
            ("plugin.js", -1, false),
            ("plugin.js", 0, false),
            ("app.py", 1, true),
            ("src/store/mod.rs", 1, true),
            ("wit/deps/ampoule-injector/log.wit", 1, true),
            ("Cargo.toml", 1, true),
            ("cases/found.yaml", 1, false),
            ("plugin.test.js", 1, false),
            ("test_app.py", 1, false),
            ("node_modules/x/index.js", 1, false),
            ("bindings/entry.js", 1, false),
            ("README.md", 1, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let component = folder.path().join(COMPONENT);
            write(folder.path(), COMPONENT, 0);
            write(folder.path(), name, seconds);
            let expected = is_newer.then(|| folder.path().join(name));
            assert_eq!(newer_source(&component, folder.path()), expected, "{name}");
        }
    }
}
