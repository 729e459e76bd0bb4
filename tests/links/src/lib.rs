//! The links and headings of Markdown files: [`Pages`] resolves each local link to a file and an
//! anchor.
//!
//! Anchors are made as GitHub makes them; mdbook makes the same for headings of plain words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Markdown files by their path from the root of the repository.
#[derive(Debug)]
pub struct Pages(BTreeMap<String, Page>);

/// The links and headings of one file.
#[derive(Debug)]
pub struct Page {
    /// Its path from the root of the repository, with `/`.
    pub path: String,
    headings: Vec<String>,
    anchors: BTreeSet<String>,
    links: Vec<String>,
}

/// A link to a file of the repository, apart from its anchor.
struct LocalLink {
    /// The path from the root of the repository.
    file: String,
    anchor: Option<String>,
}

// === impl Pages ===

impl Pages {
    /// Reads and parses the files with these paths.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn read(root: &Path, paths: &[String]) -> Result<Self> {
        let mut pages = BTreeMap::new();
        for path in paths {
            let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
            pages.insert(path.clone(), Page::parse(path, &text));
        }
        Ok(Self(pages))
    }

    /// The number of files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file with this path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Page> {
        self.0.get(path)
    }

    /// The files, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &Page> {
        self.0.values()
    }

    /// One message for each link whose file or anchor does not exist.
    #[must_use]
    pub fn broken_links(&self, root: &Path) -> Vec<String> {
        let mut broken = Vec::new();
        for page in self.iter() {
            for link in &page.links {
                let Some(local) = page.resolve(link) else { continue };
                if !root.join(&local.file).exists() {
                    broken.push(format!("{}: the link {link} has no target: there is no {}", page.path, local.file));
                } else if let Some(anchor) = self.missing_anchor(&local) {
                    broken.push(format!("{}: the link {link} has no target: no heading #{anchor}", page.path));
                }
            }
        }
        broken
    }

    /// The link's anchor, if its file is one of these pages and has no such heading.
    fn missing_anchor<'a>(&self, link: &'a LocalLink) -> Option<&'a str> {
        let page = self.get(&link.file)?;
        link.anchor.as_deref().filter(|anchor| !page.anchors.contains(*anchor))
    }
}

// === impl Page ===

impl Page {
    fn parse(path: &str, text: &str) -> Self {
        let mut page =
            Self { path: path.to_owned(), headings: Vec::new(), anchors: BTreeSet::new(), links: Vec::new() };
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.headings.extend(heading.take()),
                Event::Text(text) | Event::Code(text) => heading.iter_mut().for_each(|heading| heading.push_str(&text)),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => page.add_html(&html),
                _ => {}
            }
        }
        let mut seen = HashMap::new();
        for heading in &page.headings {
            page.anchors.insert(unique(anchor(heading), &mut seen));
        }
        page
    }

    fn add_html(&mut self, html: &str) {
        for attribute in ["href=\"", "src=\""] {
            self.links.extend(attribute_values(html, attribute));
        }
        for attribute in ["id=\"", "name=\""] {
            self.anchors.extend(attribute_values(html, attribute));
        }
    }

    /// The text of the first heading.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.headings.first().map(String::as_str)
    }

    /// The files of the repository that this page links to.
    pub fn local_targets(&self) -> impl Iterator<Item = String> {
        self.links.iter().filter_map(|link| self.resolve(link)).map(|link| link.file)
    }

    /// `None` for a link to another host, or of another scheme.
    fn resolve(&self, link: &str) -> Option<LocalLink> {
        if link.contains("://") || link.starts_with("mailto:") {
            return None;
        }
        let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
        let file = if file.is_empty() { self.path.clone() } else { joined(&self.path, file) };
        Some(LocalLink { file, anchor: anchor.map(str::to_owned) })
    }
}

/// The path from the root to a file that `page` names relative to itself.
fn joined(page: &str, target: &str) -> String {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in folder.join(target).components() {
        match part {
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path.to_string_lossy().into_owned()
}

/// The values of an attribute in HTML.
fn attribute_values(html: &str, attribute: &str) -> impl Iterator<Item = String> {
    let values = html.split(attribute).skip(1).filter_map(|rest| rest.split_once('"'));
    values.map(|(value, _)| value.to_owned())
}

/// Letters, digits, `-` and `_` in lower case; a space becomes `-`, and every other character is
/// dropped.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    };
    heading.trim().to_lowercase().chars().filter_map(kept).collect()
}

/// A second heading of the same text gets `-1`, a third one `-2`.
fn unique(anchor: String, seen: &mut HashMap<String, usize>) -> String {
    let count = seen.entry(anchor.clone()).and_modify(|count| *count += 1).or_default();
    if *count == 0 { anchor } else { format!("{anchor}-{count}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the pages of a repository, and compares the messages.
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let paths: Vec<_> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(Pages::read(root.path(), &paths).unwrap().broken_links(root.path()), expected);
    }

    #[test]
    fn anchors_are_those_of_github() {
        for (heading, expected) in [
            ("Rights", "rights"),
            ("Fixed at the start: `server`", "fixed-at-the-start-server"),
            ("Codes 400, 403 and 5xx", "codes-400-403-and-5xx"),
            ("From Flyte's webhook — and back", "from-flytes-webhook--and-back"),
        ] {
            assert_eq!(anchor(heading), expected);
        }
    }

    #[test]
    fn links_to_files_and_anchors_that_exist_are_accepted() {
        check(
            &[
                ("a.md", "# A\n[b](docs/b.md#two-words) [c](#a) [d](docs) [e](https://example.org/x.md#y)\n"),
                ("docs/b.md", "# B\n## Two words\n## B\n[a](../a.md) [twice](#b-1) ![image](../a.md)\n"),
            ],
            &[],
        );
    }

    #[test]
    fn links_and_anchors_in_html_count() {
        check(&[("a.md", "# A\n<a id=\"here\"></a>\n\n[b](#here)\n")], &[]);
        check(
            &[("a.md", "# A\n<a href=\"gone.md\">b</a>\n")],
            &["a.md: the link gone.md has no target: there is no gone.md"],
        );
    }

    #[test]
    fn a_missing_file_and_a_missing_anchor_are_named() {
        check(
            &[("docs/a.md", "# A\n[gone](../b.md) and [no anchor](#b)\n\n```\n[code](is-no-link.md)\n```\n")],
            &[
                "docs/a.md: the link ../b.md has no target: there is no b.md",
                "docs/a.md: the link #b has no target: no heading #b",
            ],
        );
    }
}
