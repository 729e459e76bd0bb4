//! Line lengths: 100 columns for Rust comments, 120 for Markdown.
//!
//! Tables, code blocks and link targets of Markdown may be longer, and so may a single word, such
//! as an address.

use super::budget::{self, Budget, Violation};
use super::repository::files;

/// The limit for lines of Rust with a comment.
const RUST: usize = 100;
/// The limit for Markdown.
const MARKDOWN: usize = 120;

/// Lines that are still longer.
const BUDGET: &Budget = &[];

/// Recordings, and reports that a benchmark writes.
const UNCHECKED: [&str; 2] = ["tests/parity/", "tests/bench/report/"];

#[test]
fn comments_and_markdown_keep_to_their_width() {
    let mut violations = Vec::new();
    for file in files(&["*.rs", "*.md"]) {
        if UNCHECKED.iter().any(|prefix| file.path.starts_with(prefix)) {
            continue;
        }
        let rust = file.path.ends_with(".rs");
        let (lines, limit) = match rust {
            true => (long_comments(&file.text), RUST),
            false => (long_markdown(&file.text), MARKDOWN),
        };
        for (line, width) in lines {
            let message = format!("{}:{line}: {width} columns, the limit is {limit}", file.path);
            violations.push(Violation { area: file.area(), weight: 1, message });
        }
    }
    budget::hold("wrap long lines", "tests/tidy/width.rs", BUDGET, &violations);
}

/// Lines with only a comment: `rustfmt` determines the others.
fn long_comments(source: &str) -> Vec<(usize, usize)> {
    let comments = source.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
    too_long(comments, RUST)
}

fn long_markdown(source: &str) -> Vec<(usize, usize)> {
    let mut fenced = false;
    let prose = source.lines().enumerate().filter(|(_, line)| {
        let line = line.trim_start();
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fence && !fenced && !line.starts_with('|')
    });
    too_long(prose, MARKDOWN)
}

fn too_long<'a>(lines: impl Iterator<Item = (usize, &'a str)>, limit: usize) -> Vec<(usize, usize)> {
    let measured = lines.map(|(index, line)| (index + 1, width(line)));
    measured.filter(|(_, width)| *width > limit).collect()
}

/// Width of a line in columns, without link targets. 0 for a single long word, which cannot be
/// wrapped.
fn width(line: &str) -> usize {
    let text = line.trim_start().trim_start_matches(['/', '!', '*', '-', '[']).trim();
    if !text.contains(' ') || text.contains("]: http") {
        return 0;
    }
    let mut width = line.chars().count();
    for target in line.split("](").skip(1) {
        width -= target.split(')').next().unwrap_or_default().chars().count();
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_long_comments() {
        let long = format!("fn f() {{}}\n    // a {}\n", "x".repeat(93));
        assert_eq!(long_comments(&long), [(2, 102)]);
        let code = format!("let a = \"{0} {0}\";\n// {0}\n// a {1}\n", "x".repeat(100), "x".repeat(95));
        assert_eq!(long_comments(&code), []);
    }

    #[test]
    fn finds_long_markdown_outside_tables_code_and_links() {
        let words = "word ".repeat(30);
        assert_eq!(long_markdown(&format!("\n{words}\n")), [(2, 150)]);
        let link = format!("a [b](https://example.com/{}) c", "d".repeat(120));
        assert_eq!(long_markdown(&format!("| {words} |\n```\n{words}\n```\n{link}\n")), []);
    }
}
