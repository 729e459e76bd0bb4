//! Released versions of the contract: their files never change, and the current package is
//! compatible with them.
//!
//! `wit/frozen/README.md` describes the rules. No version has been released yet, so temporary
//! folders show that the rules find a violation.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod frozen {
    mod checksums;
    mod items;

    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use checksums::{CHECKSUMS, changed_files};
    use items::Package;

    /// The folder of the contract.
    fn wit() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
    }

    /// The folders of the frozen versions.
    fn versions(wit: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(wit.join("frozen")).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    }

    /// Every violation of the rules by a contract and its frozen versions.
    fn violations(wit: &Path) -> Vec<String> {
        let current = Package::read(wit);
        let check = |folder: PathBuf| {
            let version = folder.file_name().unwrap().to_str().unwrap();
            let frozen = Package::read(&folder);
            let mut found = changed_files(&folder);
            if version != format!("v{}", frozen.version) {
                found.push(format!("contains version {}", frozen.version));
            }
            if frozen.has_track_of(&current) {
                found.extend(frozen.incompatibilities(&current));
            }
            found.into_iter().map(|violation| format!("{version}: {violation}")).collect::<Vec<_>>()
        };
        versions(wit).into_iter().flat_map(check).collect()
    }

    #[test]
    fn the_contract_is_compatible_with_its_frozen_versions() {
        assert_eq!(violations(&wit()), [""; 0]);
    }

    #[test]
    fn the_contract_has_items_to_freeze() {
        let package = Package::read(&wit());
        for item in
            ["admission/[method]pod.image", "admission/delivery", "injector/inject", "world plugin/export injector"]
        {
            assert!(package.has(item), "{item} is not in {package:?}");
        }
    }

    const RELEASED: &str = "
        package ampoule:injector@0.2.0;
        interface admission {
            enum delivery { any, file }
            record size { bytes: u64 }
            resource pod {
                image: func(container: string) -> option<string>;
                deliver-as: func() -> delivery;
            }
        }
        interface injector {
            use admission.{pod};
            inject: func(pod: borrow<pod>);
        }
        world plugin {
            import admission;
            export injector;
        }
    ";

    /// Freezes [`RELEASED`] in a folder whose current contract differs from it in one place.
    fn contract_with(text: &str, replacement: &str) -> tempfile::TempDir {
        assert_eq!(RELEASED.matches(text).count(), 1, "{text}");
        let folder = tempfile::tempdir().unwrap();
        let version = folder.path().join("frozen/v0.2.0");
        fs::create_dir_all(&version).unwrap();
        fs::write(version.join("all.wit"), RELEASED).unwrap();
        fs::write(version.join(CHECKSUMS), format!("{}  all.wit\n", checksums::sha256(RELEASED.as_bytes()))).unwrap();
        fs::write(folder.path().join("all.wit"), RELEASED.replace(text, replacement)).unwrap();
        folder
    }

    #[test]
    fn a_later_version_may_only_add_to_the_imported_interfaces() {
        let image = "image: func(container: string) -> option<string>;";
        let deliver = "deliver-as: func() -> delivery;";
        let inject = "inject: func(pod: borrow<pod>);";
        let image_was = "v0.2.0: admission/[method]pod.image was \
                         `func(self: borrow<pod>, container: string) -> option<string>`";
        let cases: [(&str, String, &[&str]); 14] = [
            ("@0.2.0", "@0.2.1".to_owned(), &[]),
            ("interface admission", "/// A comment.\ninterface admission".to_owned(), &[]),
            (image, format!("{image} labels: func() -> list<string>;"), &[]),
            ("world plugin", "interface clock { now: func() -> u64; } world plugin".to_owned(), &[]),
            ("import admission;", "import admission; import clock: func();".to_owned(), &[]),
            (image, String::new(), &["v0.2.0: admission/[method]pod.image is missing"]),
            (
                image,
                image.replace(")", ", nth: u32)"),
                &[&format!(
                    "{image_was}, and is `func(self: borrow<pod>, container: string, nth: u32) -> option<string>`"
                )],
            ),
            (
                image,
                image.replace("option<string>", "string"),
                &[&format!("{image_was}, and is `func(self: borrow<pod>, container: string) -> string`")],
            ),
            (
                "{ any, file }",
                "{ any, file, env-var }".to_owned(),
                &["v0.2.0: admission/delivery was `enum { any, file }`, and is `enum { any, file, env-var }`"],
            ),
            (
                "bytes: u64",
                "bytes: u64, blocks: u64".to_owned(),
                &["v0.2.0: admission/size was `record { bytes: u64 }`, and is `record { bytes: u64, blocks: u64 }`"],
            ),
            (deliver, String::new(), &["v0.2.0: admission/[method]pod.deliver-as is missing"]),
            ("export injector;", String::new(), &["v0.2.0: world plugin/export injector is missing"]),
            (
                inject,
                format!("{inject} stop: func();"),
                &["v0.2.0: injector/stop is new, and plugins export injector: add an interface instead"],
            ),
            ("@0.2.0", "@0.3.0".to_owned(), &[]),
        ];
        for (text, replacement, expected) in cases {
            let folder = contract_with(text, &replacement);
            assert_eq!(violations(folder.path()), expected, "{text} becomes {replacement}");
        }
    }

    #[test]
    fn another_track_may_lack_everything() {
        let folder = contract_with("@0.2.0", "@0.3.0");
        fs::write(folder.path().join("all.wit"), "package ampoule:injector@0.3.0;").unwrap();
        assert_eq!(violations(folder.path()), [""; 0]);
    }

    #[test]
    fn a_frozen_version_keeps_its_files() {
        let folder = contract_with("@0.2.0", "@0.2.1");
        let version = folder.path().join("frozen/v0.2.0");
        let change = |file: &str, text: &str| fs::write(version.join(file), text).unwrap();
        change("all.wit", &RELEASED.replace("interface admission", "/// Changed.\ninterface admission"));
        assert_eq!(violations(folder.path()), ["v0.2.0: all.wit does not match SHA256SUMS"]);
        change("all.wit", RELEASED);
        change("more.wit", "interface more {}");
        assert_eq!(violations(folder.path()), ["v0.2.0: more.wit is not in SHA256SUMS"]);
        fs::remove_file(version.join("more.wit")).unwrap();
        change(CHECKSUMS, &format!("{0}  all.wit\n{0}  lost.wit\n", checksums::sha256(RELEASED.as_bytes())));
        assert_eq!(violations(folder.path()), ["v0.2.0: lost.wit is missing"]);
        fs::remove_file(version.join(CHECKSUMS)).unwrap();
        assert_eq!(violations(folder.path()), ["v0.2.0: all.wit is not in SHA256SUMS"]);
    }

    #[test]
    fn a_folder_has_the_name_of_its_version() {
        let folder = contract_with("@0.2.0", "@0.2.1");
        fs::rename(folder.path().join("frozen/v0.2.0"), folder.path().join("frozen/v0.2.7")).unwrap();
        assert_eq!(violations(folder.path()), ["v0.2.7: contains version 0.2.0"]);
    }
}
