//! Links of Markdown: relative targets and their anchors exist.
//!
//! Anchors are those that GitHub makes from headings. Addresses on other hosts are not requested.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::repository::{files, root};

#[test]
fn every_link_in_markdown_leads_to_a_file_and_a_heading() {
    let pages: Vec<_> =
        files(&["*.md"]).into_iter().map(|file| (PathBuf::from(file.path), Page::parse(&file.text))).collect();
    assert!(pages.len() > 10, "git lists too few pages: {}", pages.len());
    let pages: BTreeMap<_, _> = pages.into_iter().collect();
    let broken = broken(&pages, &|path| root().join(path).exists());
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// The links that lead nowhere.
fn broken(pages: &BTreeMap<PathBuf, Page>, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, page) in pages {
        for link in page.links.iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = match target {
                "" => path.clone(),
                _ => normalized(&path.parent().unwrap_or(Path::new("")).join(target)),
            };
            if !exists(&target) {
                broken.push(format!("{}: {link}: {} does not exist", path.display(), target.display()));
                continue;
            }
            let known = pages.get(&target).is_none_or(|page| page.anchors.iter().any(|known| known == anchor));
            if !anchor.is_empty() && !known {
                broken.push(format!("{}: {link}: {} has no such heading", path.display(), target.display()));
            }
        }
    }
    broken
}

/// A path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normalized.pop()),
            Component::CurDir => {}
            other => normalized.push(other),
        }
    }
    normalized
}

/// What a page links to, and the anchors that it offers.
struct Page {
    links: Vec<String>,
    anchors: Vec<String>,
}

// === impl Page ===

impl Page {
    fn parse(markdown: &str) -> Self {
        let mut page = Self { links: Vec::new(), anchors: Vec::new() };
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_heading(&heading.take().unwrap_or_default()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => page.add_html(&html),
                _ => {}
            }
        }
        page
    }

    /// Lower case, spaces as hyphens, without punctuation; a number distinguishes equal headings.
    fn add_heading(&mut self, text: &str) {
        let kept = text.to_lowercase();
        let kept = kept.chars().filter(|character| character.is_alphanumeric() || "-_ ".contains(*character));
        let slug: String = kept.map(|character| if character == ' ' { '-' } else { character }).collect();
        let mut anchor = slug.clone();
        let mut count = 0;
        while self.anchors.contains(&anchor) {
            count += 1;
            anchor = format!("{slug}-{count}");
        }
        self.anchors.push(anchor);
    }

    fn add_html(&mut self, html: &str) {
        for attribute in ["href=\"", "src=\""] {
            self.links.extend(values(html, attribute));
        }
        for attribute in ["id=\"", "name=\""] {
            self.anchors.extend(values(html, attribute));
        }
    }
}

/// The values of an attribute in HTML.
fn values(html: &str, attribute: &str) -> Vec<String> {
    let values = html.split(attribute).skip(1).filter_map(|rest| rest.split_once('"'));
    values.map(|(value, _)| value.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str) -> Vec<String> {
        let other = "# `a.b`: one, two\n\n## Same\n\n## Same\n\n<a id=\"here\"></a>\n";
        let pages = [("docs/page.md", source), ("docs/folder/other.md", other)];
        let pages = pages.map(|(path, source)| (PathBuf::from(path), Page::parse(source))).into();
        broken(&pages, &|path| {
            ["docs/page.md", "docs/folder/other.md", "LICENSE"].iter().any(|known| path == Path::new(known))
        })
    }

    #[test]
    fn accepts_links_to_files_and_headings() {
        let links = "[a](folder/other.md#ab-one-two) [b](./folder/../folder/other.md#same-1) [c](../LICENSE)";
        assert_eq!(check(links), Vec::<String>::new());
        assert_eq!(
            check("# Top\n\n[d](#top) [e](https://example.com/x) [f](folder/other.md#here)"),
            Vec::<String>::new()
        );
        assert_eq!(check("```\n[g](missing.md)\n```\n`[h](missing.md)`\n"), Vec::<String>::new());
    }

    #[test]
    fn finds_missing_files_and_headings() {
        let found = check("[a](missing.md) [b][r] <a href=\"gone\">c</a>\n\n[r]: folder/other.md#same-2\n");
        let expected = [
            "docs/page.md: missing.md: docs/missing.md does not exist",
            "docs/page.md: folder/other.md#same-2: docs/folder/other.md has no such heading",
            "docs/page.md: gone: docs/gone does not exist",
        ];
        assert_eq!(found, expected);
        assert_eq!(check("[a](#nothing)").len(), 1);
    }
}
