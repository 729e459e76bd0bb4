//! `plugin new` without a build: the files, the names and the directories. `tests/e2e/authors.rs`
//! builds and runs what it writes.

use std::collections::BTreeSet;

use clap::Parser as _;

use super::*;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    new: NewArgs,
}

/// Creates a plugin in a folder, with these arguments after the path.
fn create(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let folder = folder.to_str().unwrap();
    let args = Cli::try_parse_from([&["new", folder], arguments].concat())?.new;
    Scaffold::of(&args)?.create(&args.folder)
}

fn listed(folder: &str, below: &str) -> Vec<String> {
    let found = fs::read_dir(format!("{ROOT}/{folder}")).unwrap().map(Result::unwrap);
    let files = found.filter(|entry| entry.path().is_file());
    files.map(|entry| format!("{below}{}", entry.file_name().to_str().unwrap())).collect()
}

#[test]
fn writes_every_file_of_a_folder_that_a_plugin_contains() {
    use super::templates::*;
    let folders = [
        (CASES, vec![("plugins/examples/cases", "cases/")]),
        (STORE_CASES, vec![("plugins/examples/store/cases", "cases/")]),
        (CONTRACT, vec![("wit", "wit/deps/ampoule-injector/")]),
        (WORLDS, vec![("plugins/examples/wit", "wit/"), ("plugins/examples/wit/deps", "wit/deps/")]),
        (PYTHON_LIBRARY, vec![("plugins/sdk-python/ampoule_plugin", "ampoule_plugin/")]),
        (
            JAVASCRIPT_LIBRARY,
            vec![
                ("plugins/sdk-javascript/testing", "sdk/testing/"),
                ("plugins/sdk-javascript/testing/host", "sdk/testing/host/"),
            ],
        ),
    ];
    for (template, folders) in folders {
        let written: BTreeSet<_> = template.iter().map(|(path, _)| (*path).to_owned()).collect();
        let there: BTreeSet<_> = folders.iter().flat_map(|(folder, below)| listed(folder, below)).collect();
        let lacking: Vec<_> = there.difference(&written).collect();
        assert!(lacking.is_empty(), "the templates lack {lacking:?}");
    }
}

#[test]
fn replaces_the_name_in_every_file() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, mark) in [
        (&["--lang", "rust"][..], "Cargo.toml"),
        (&["--lang", "rust", "--sdk=https://example.com/ampoule"], "Cargo.toml"),
        (&["--lang", "javascript"], "package.json"),
        (&["--lang", "javascript", "--sdk"], "package-lock.json"),
        (&["--lang", "python"], "app.py"),
        (&["--lang", "python", "--sdk"], "app.py"),
        (&["--lang", "c"], "injector.c"),
    ] {
        let plugin = folder.path().join(arguments.concat().replace(['/', ':', '.'], "-"));
        create(&plugin, &[arguments, &["--name", "my-plugin"]].concat()).unwrap();
        let text = fs::read_to_string(plugin.join(mark)).unwrap();
        assert!(text.contains("my-plugin") && !text.contains(EXAMPLE), "{text}");
    }
}

#[test]
fn the_name_is_that_of_the_directory_unless_it_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("store");
    create(&plugin, &["--lang", "c"]).unwrap();
    assert!(fs::read_to_string(plugin.join("README.md")).unwrap().starts_with("# store\n"));
    let plugin = folder.path().join("Store");
    create(&plugin, &["--lang", "c", "--name", "other"]).unwrap();
    assert!(fs::read_to_string(plugin.join("README.md")).unwrap().starts_with("# other\n"));
}

#[test]
fn fills_an_empty_directory_or_a_new_repository() {
    let folder = tempfile::tempdir().unwrap();
    for entries in [&[][..], &[".git"]] {
        let plugin = folder.path().join(format!("plugin-{}", entries.len()));
        fs::create_dir(&plugin).unwrap();
        entries.iter().for_each(|entry| fs::create_dir(plugin.join(entry)).unwrap());
        create(&plugin, &["--lang", "python"]).unwrap();
        assert!(plugin.join("app.py").is_file());
        // `plugin new .` names the directory by another path.
        create(&plugin.join("."), &["--lang", "python"]).unwrap_err();
    }
}

#[test]
fn rejects_a_directory_with_files_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.py"), "mine").unwrap();
    let error = create(folder.path(), &["--lang", "python", "--name", "a"]).unwrap_err();
    let expected = "the directory DIR is not empty: it contains app.py";
    assert_eq!(error.to_string().replace(folder.path().to_str().unwrap(), "DIR"), expected);
    assert_eq!(fs::read_to_string(folder.path().join("app.py")).unwrap(), "mine");
    let error = format!("{:#}", create(&folder.path().join("app.py"), &["--lang", "c", "--name", "a"]).unwrap_err());
    let expected = "cannot read the directory DIR/app.py: Not a directory (os error 20)";
    assert_eq!(error.replace(folder.path().to_str().unwrap(), "DIR"), expected);
}

#[test]
fn rejects_an_invalid_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "A", "1a", "a_b", "a/b", "../a", "a-", &"a".repeat(64)] {
        let expected = format!(
            "invalid plugin name {name:?}: use up to 63 of a-z, 0-9 and -, with a letter first and no - at the end, or \
             set --name"
        );
        let name = format!("--name={name}");
        let error = create(&folder.path().join("plugin"), &["--lang", "rust", &name]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn rejects_an_sdk_that_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (["--lang", "c", "--sdk"], "--sdk: the language c has no SDK"),
        (
            ["--lang", "rust", "--sdk"],
            "--sdk: set --sdk=SOURCE to the git URL or a local clone of Ampoule's repository",
        ),
        (["--lang", "rust", "--sdk=/nowhere"], "--sdk: /nowhere contains no plugins/sdk"),
        (["--lang", "python", "--sdk=a"], "--sdk: a: only the language rust has a source"),
    ] {
        let plugin = folder.path().join("plugin");
        assert_eq!(create(&plugin, &arguments).unwrap_err().to_string(), expected);
        assert!(!plugin.exists());
    }
}

#[test]
fn the_rust_sdk_is_a_dependency_on_a_repository_or_a_clone() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(ROOT).canonicalize().unwrap();
    let clone = format!("--sdk={}", root.display());
    let sdk = root.join("plugins/sdk").canonicalize().unwrap();
    for (i, (source, grants, expected)) in [
        (
            "--sdk=https://example.com/ampoule",
            &["--grants", "http,cache"][..],
            r#"{ git = "https://example.com/ampoule", features = ["http", "cache"] }"#.to_owned(),
        ),
        (&clone, &[], format!("{{ path = {:?}, features = [] }}", sdk.display().to_string())),
    ]
    .into_iter()
    .enumerate()
    {
        let plugin = folder.path().join(format!("plugin-{i}"));
        create(&plugin, &[&["--lang", "rust", source], grants].concat()).unwrap();
        let manifest = fs::read_to_string(plugin.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("ampoule-plugin-sdk = {expected}\n")), "{manifest}");
    }
}

#[test]
fn a_grant_is_an_import_of_the_world() {
    let folder = tempfile::tempdir().unwrap();
    let none = ["admission", "conventions", "log"].map(|name| format!("ampoule:injector/{name}@0.2.0"));
    let all = [
        "ampoule:injector/cache@0.2.0",
        "ampoule:injector/kubernetes-secrets@0.2.0",
        "wasi:cli/environment@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
    ];
    for (i, (arguments, expected)) in [
        (&["--lang", "javascript"][..], &[][..]),
        (&["--lang", "javascript", "--sdk"], &[]),
        (&["--lang", "python", "--grants", "http"], &all[3..]),
        (&["--lang", "rust", "--grants", "http,environment,kubernetes-secrets,cache"], &all),
    ]
    .into_iter()
    .enumerate()
    {
        let plugin = folder.path().join(format!("plugin-{i}"));
        create(&plugin, arguments).unwrap();
        let imports = ampoule_plugin_build::world_imports(&plugin.join("wit"), "plugin").unwrap();
        // Types of WASI follow from the functions.
        let implied =
            |name: &&String| !["types@", "poll@", "streams@", "error@", "clock@"].iter().any(|end| name.contains(end));
        let imports: BTreeSet<_> = imports.iter().filter(implied).cloned().collect();
        let expected = none.iter().cloned().chain(expected.iter().map(|&name| name.to_owned())).collect();
        assert_eq!(imports, expected, "{arguments:?}");
    }
}

#[test]
fn a_plugin_with_an_sdk_and_a_grant_fetches_values() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("plugin");
    create(&plugin, &["--lang", "python", "--sdk", "--grants", "http"]).unwrap();
    let imports = ampoule_plugin_build::world_imports(&plugin.join("wit"), "plugin").unwrap();
    assert!(imports.iter().any(|name| name == "ampoule:injector/fetching@0.2.0"), "{imports:?}");
}
