//! Builds the book in `docs/`, and checks the links of every Markdown file of the repository.
//! Links within the repository must resolve, with their anchors. Others are not fetched.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use ampoule_links::{Page, Pages};
use anyhow::{Context, Result};

use crate::job;
use crate::progress::{BAD, GOOD, Progress};
use crate::setup;
use crate::workspace;

/// The sources of the book's pages.
const BOOK: &str = "docs/src";
/// The book's table of contents.
const SUMMARY: &str = "docs/src/SUMMARY.md";
/// mdbook takes a second.
const BUILD_MAX: Duration = Duration::from_secs(120);
/// `git ls-files` takes milliseconds.
const LIST_MAX: Duration = Duration::from_secs(30);

/// Builds the book, then checks the links and reports every broken one.
pub(crate) fn run() -> Result<ExitCode> {
    let mdbook = setup::ensure_mdbook()?;
    let target = workspace::target_folder()?;
    let book = target.join("book");
    let mut build = Command::new(mdbook);
    build.arg("build").arg(workspace::root().join("docs")).arg("--dest-dir").arg(&book);
    let mut progress = Progress::start(1, target.join("book.log"))?;
    progress.step("build the book", |log| log.run(&mut build, BUILD_MAX))?;

    let pages = Pages::read(&workspace::root(), &markdown_files()?)?;
    let mut problems = pages.broken_links(&workspace::root());
    problems.extend(book_problems(&pages));
    for problem in &problems {
        anstream::eprintln!("{BAD}error{BAD:#}: {problem}");
    }
    if !problems.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    anstream::println!("{GOOD}✓{GOOD:#} the links of {} Markdown files resolve", pages.len());
    anstream::println!("{GOOD}✓{GOOD:#} the book is in {}", book.join("index.html").display());
    Ok(ExitCode::SUCCESS)
}

/// Markdown files that git tracks or would add, relative to the root.
fn markdown_files() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]).current_dir(workspace::root());
    let listed = job::output(&mut git, LIST_MAX).context("`git ls-files` failed: is this a git checkout?")?;
    // A file that was deleted and not yet committed is still listed.
    let is_there = |path: &&str| workspace::root().join(path).is_file();
    Ok(listed.lines().filter(is_there).map(str::to_owned).collect())
}

/// Rules of the book alone: mdbook renders only the pages that the summary lists, and copies no
/// file from outside `docs/src`.
fn book_problems(pages: &Pages) -> Vec<String> {
    let Some(summary) = pages.get(SUMMARY) else { return vec![format!("{SUMMARY} is missing")] };
    let listed: BTreeSet<String> = summary.local_targets().collect();
    let mut problems = Vec::new();
    for page in pages.iter().filter(|page| page.path.starts_with(BOOK) && page.path != SUMMARY) {
        if !listed.contains(&page.path) {
            problems.push(format!("{SUMMARY} does not list {}; add `{}`", page.path, summary_line(page)));
        }
        for target in page.local_targets().filter(|target| !Path::new(target).starts_with(BOOK)) {
            problems.push(format!("{}: the link to {target} leaves the book; name the file in code font", page.path));
        }
    }
    problems
}

fn summary_line(page: &Page) -> String {
    let place = page.path.strip_prefix(BOOK).unwrap_or(&page.path).trim_start_matches('/');
    let depth = place.matches('/').count();
    format!("{}- [{}]({place})", "  ".repeat(depth), page.title().unwrap_or(place))
}
