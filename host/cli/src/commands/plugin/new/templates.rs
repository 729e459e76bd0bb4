//! The templates of `ampoule plugin new`: the repository's examples, the SDKs that are copied into
//! a plugin, and the contract, embedded when this program was built.

use crate::args::Language;

/// A file of a template: its path in the plugin's directory, and its content.
pub(super) type TemplateFile = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($file:literal),+ $(,)?) => { files!($folder as "": $($file),+) };
    ($folder:literal as $below:literal: $($file:literal),+ $(,)?) => {
        &[$((concat!($below, $file), include_str!(concat!("../../../../../../", $folder, "/", $file)))),+]
    };
}

const RUST: &[TemplateFile] =
    files!("plugins/examples/rust-minimal": "Cargo.toml", "Cargo.lock", "src/lib.rs", "README.md", ".gitignore");
const RUST_SDK: &[TemplateFile] = files!("plugins/examples/rust-sdk":
    "Cargo.toml", "src/lib.rs", "README.md", ".gitignore",
    "cases/has-a-setting-nobody-knows.expected.yaml", "cases/has-settings-that-are-wrong.expected.yaml");
const JAVASCRIPT: &[TemplateFile] =
    files!("plugins/examples/javascript": "package.json", "package-lock.json", "plugin.js", "README.md", ".gitignore");
const JAVASCRIPT_SDK: &[TemplateFile] = files!("plugins/examples/javascript-sdk":
    "package.json", "package-lock.json", "plugin.js", "plugin.test.js", "README.md", ".gitignore");
const PYTHON: &[TemplateFile] =
    files!("plugins/examples/python": "requirements.txt", "app.py", "README.md", ".gitignore");
const PYTHON_SDK: &[TemplateFile] =
    files!("plugins/examples/python-sdk": "requirements.txt", "app.py", "test_app.py", "README.md", ".gitignore");
const C: &[TemplateFile] = files!("plugins/examples/c": "requirements.txt", "injector.c", "README.md", ".gitignore");

/// The files of a plugin that fetches values. They replace those of the template with an SDK.
const RUST_STORE: &[TemplateFile] =
    &[("src/lib.rs", include_str!("../../../../../../plugins/examples/store/rust/lib.rs"))];
const JAVASCRIPT_STORE: &[TemplateFile] = files!("plugins/examples/store/javascript": "plugin.js", "plugin.test.js");
/// `fetch` does not report why a request failed.
const JAVASCRIPT_STORE_CASES: &[TemplateFile] =
    files!("plugins/examples/store/javascript" as "cases/": "is-down.expected.yaml");
const PYTHON_STORE: &[TemplateFile] = files!("plugins/examples/store/python": "app.py", "test_app.py");
pub(super) const STORE_CASES: &[TemplateFile] = files!("plugins/examples/store":
    "cases/chooses-another-path.yaml", "cases/chooses-another-path.expected.yaml",
    "cases/found.yaml", "cases/found.expected.yaml",
    "cases/has-settings-that-are-wrong.yaml", "cases/has-settings-that-are-wrong.expected.yaml",
    "cases/is-down.yaml", "cases/is-down.expected.yaml",
    "cases/limits-the-requests.yaml", "cases/limits-the-requests.expected.yaml",
    "cases/not-found.yaml", "cases/not-found.expected.yaml",
);
const CASES_README: &[TemplateFile] = files!("plugins/examples": "cases/README.md");

/// The SDKs that a plugin contains as a copy.
pub(super) const JAVASCRIPT_LIBRARY: &[TemplateFile] = files!("plugins/sdk-javascript" as "sdk/":
    "index.js", "index.d.ts",
    "testing/index.js", "testing/index.d.ts", "testing/register.js", "testing/hooks.js", "testing/host.js",
    "testing/host/admission.js", "testing/host/cache.js", "testing/host/conventions.js",
    "testing/host/environment.js", "testing/host/kubernetes-secrets.js", "testing/host/log.js",
);
pub(super) const PYTHON_LIBRARY: &[TemplateFile] = files!("plugins/sdk-python/ampoule_plugin" as "ampoule_plugin/":
    "__init__.py", "_host.py", "cache.py", "http.py", "kubernetes_secrets.py", "plugin.py", "py.typed", "reasons.py",
    "request.py", "testing.py",
);

pub(super) const CASES: &[TemplateFile] = files!("plugins/examples":
    "cases/README.md",
    "cases/asks-for-a-file.yaml", "cases/asks-for-a-file.expected.yaml",
    "cases/asks-for-a-variable.yaml", "cases/asks-for-a-variable.expected.yaml",
    "cases/has-a-setting-nobody-knows.yaml", "cases/has-a-setting-nobody-knows.expected.yaml",
    "cases/has-settings-that-are-wrong.yaml", "cases/has-settings-that-are-wrong.expected.yaml",
    "cases/leaves-the-choice.yaml", "cases/leaves-the-choice.expected.yaml",
    "cases/names-no-key.yaml", "cases/names-no-key.expected.yaml",
);

/// The file that lists the plugin's imports and exports.
pub(super) const WORLD: &str = "wit/world.wit";
/// The world of a plugin, and the packages of WASI that it may import.
pub(super) const WORLDS: &[TemplateFile] = files!("plugins/examples":
    "wit/world.wit",
    "wit/deps/wasi-cli.wit", "wit/deps/wasi-clocks.wit", "wit/deps/wasi-http.wit", "wit/deps/wasi-io.wit",
);
pub(super) const CONTRACT: &[TemplateFile] = files!("wit" as "wit/deps/ampoule-injector/":
    "README.md", "admission.wit", "cache.wit", "conventions.wit", "fetching.wit", "kubernetes-secrets.wit", "log.wit",
    "plugin.wit", "world.wit",
);

/// Returns the files of a template. A later file replaces an earlier one with the same path.
/// `is_store` selects a plugin that fetches values; it needs an SDK.
pub(super) fn template(language: Language, sdk: bool, is_store: bool) -> Vec<TemplateFile> {
    let own: &[&[TemplateFile]] = match (language, sdk) {
        (Language::Rust, false) => &[RUST],
        (Language::Rust, true) => &[RUST_SDK],
        (Language::Javascript, false) => &[JAVASCRIPT],
        (Language::Javascript, true) => &[JAVASCRIPT_SDK, JAVASCRIPT_LIBRARY],
        (Language::Python, false) => &[PYTHON],
        (Language::Python, true) => &[PYTHON_SDK, PYTHON_LIBRARY],
        (Language::C, _) => &[C],
    };
    // The Rust SDK contains the contract.
    let contract: &[&[TemplateFile]] = if has_world(language, sdk) { &[WORLDS, CONTRACT] } else { &[] };
    let store = if sdk && is_store { store(language) } else { &[] };
    let files = [&[CASES], contract, own, store].concat().into_iter().flatten().copied();
    // The cases of the other template do not apply.
    files.filter(|(path, _)| store.is_empty() || !is_case(path) || is_store_case(path)).collect()
}

/// The files of a plugin that fetches values.
fn store(language: Language) -> &'static [&'static [TemplateFile]] {
    match language {
        Language::Rust => &[RUST_STORE, STORE_CASES],
        Language::Javascript => &[JAVASCRIPT_STORE, STORE_CASES, JAVASCRIPT_STORE_CASES],
        Language::Python => &[PYTHON_STORE, STORE_CASES],
        Language::C => &[],
    }
}

fn is_case(path: &str) -> bool {
    path.starts_with("cases/")
}

fn is_store_case(path: &str) -> bool {
    CASES_README.iter().chain(STORE_CASES).any(|(known, _)| *known == path)
}

/// Whether the template has a world of its own.
fn has_world(language: Language, sdk: bool) -> bool {
    !(language == Language::Rust && sdk)
}
