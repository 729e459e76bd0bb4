//! Links of Markdown: relative targets and their anchors exist.
//!
//! `cargo xtask docs` makes the same check when it builds the book.

use ampoule_links::Pages;

use super::repository::{files, root};

#[test]
fn every_link_in_markdown_leads_to_a_file_and_a_heading() {
    let paths: Vec<_> = files(&["*.md"]).into_iter().map(|file| file.path).collect();
    assert!(paths.len() > 10, "git lists too few pages: {}", paths.len());
    let broken = Pages::read(&root(), &paths).expect("the pages can be read").broken_links(&root());
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}
