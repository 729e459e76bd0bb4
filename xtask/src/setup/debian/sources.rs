//! Rewrites the machine's apt sources to include source packages. It uses only Debian's own
//! sources, because others often have no source packages, and an unreachable one must not stop the
//! set-up.
//!
//! It reads both formats of apt, the stanzas of `*.sources` and the lines of `*.list` (see
//! `sources.list(5)`).

use std::fs;
use std::path::Path;

/// Suites of Debian sources; a suffix such as `-updates` or `-security` may follow.
const SUITES: [&str; 2] = ["bookworm", "oldstable"];

/// Returns the format (`sources` or `list`) and the rewritten text of each file with a Debian
/// source.
pub(super) fn of_this_machine() -> Vec<(&'static str, String)> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = parts.chain([Path::new("/etc/apt/sources.list").to_path_buf()]).collect();
    files.sort();
    let rewritten = files.iter().filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "sources" => Some(("sources", from_stanzas(&text))),
            "list" => Some(("list", from_lines(&text))),
            _ => None,
        }
    });
    rewritten.filter(|(_, text)| !text.is_empty()).collect()
}

fn from_stanzas(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let stanzas = lines.split(|line| line.trim().is_empty());
    stanzas.filter(|stanza| is_debian_stanza(stanza)).map(|stanza| with_source_packages(stanza) + "\n").collect()
}

fn is_debian_stanza(stanza: &[&str]) -> bool {
    let field = |name: &str| {
        let mut fields = stanza.iter().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    };
    let words = |name| field(name).split_whitespace();
    words("Types").any(|kind| kind == "deb")
        && field("Enabled") != "no"
        && words("Suites").any(is_debian_suite)
        && words("Components").any(|component| component == "main")
        && is_debian_key(field("Signed-By"))
}

fn with_source_packages(stanza: &[&str]) -> String {
    let is_types = |line: &str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case("Types"));
    stanza
        .iter()
        .map(|&line| if is_types(line) { "Types: deb deb-src\n".to_owned() } else { format!("{line}\n") })
        .collect()
}

fn from_lines(text: &str) -> String {
    let sources = text.lines().filter_map(|line| line.trim().strip_prefix("deb ")).filter(|rest| is_debian_line(rest));
    sources.map(|rest| format!("deb {rest}\ndeb-src {rest}\n")).collect()
}

/// Checks the rest of a line after `deb`: `[options] address suite component…`, where the options
/// may be absent.
fn is_debian_line(rest: &str) -> bool {
    let (options, place) = match rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((options, place)) => (options, place),
        None => ("", rest),
    };
    let key = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = place.split_whitespace().skip(1);
    words.next().is_some_and(is_debian_suite) && words.any(|word| word == "main") && is_debian_key(key.unwrap_or(""))
}

fn is_debian_suite(suite: &str) -> bool {
    SUITES
        .iter()
        .any(|debian| suite.strip_prefix(debian).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '/'])))
}

/// Other distributors also use Debian's names of suites and components, but sign with their own
/// keys.
fn is_debian_key(signed_by: &str) -> bool {
    signed_by.is_empty() || signed_by.contains("debian-archive")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
# Debian's own
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://other.example/stable/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/other.gpg

Types: deb
Enabled: no
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main

Types: deb
URIs: http://node.example
Suites: nodistro
Components: main
";

    #[test]
    fn uses_only_debian_stanzas_and_adds_source_packages() {
        assert_eq!(
            from_stanzas(STANZAS),
            "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
             Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        );
    }

    #[test]
    fn uses_only_debian_lines_and_adds_source_packages() {
        let cases = [
            ("deb http://m.example/debian bookworm main contrib", true),
            (
                "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m.example/debian bookworm-security main",
                true,
            ),
            ("deb http://m.example/debian-security bookworm/updates main", true),
            ("deb [signed-by=/usr/share/keyrings/other.gpg] http://o.example bookworm main", false),
            ("deb http://o.example bookworm stable", false),
            ("deb http://o.example bookwormish main", false),
            ("# deb http://m.example/debian bookworm main", false),
            ("deb-src http://m.example/debian bookworm main", false),
        ];
        for (line, taken) in cases {
            let expected =
                if taken { format!("{line}\n{}\n", line.replacen("deb", "deb-src", 1)) } else { String::new() };
            assert_eq!(from_lines(line), expected, "{line}");
        }
    }
}
