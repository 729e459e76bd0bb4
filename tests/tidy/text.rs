//! Prose in source files: comments and string literals as passages of text, with line numbers.
//!
//! Successive comment lines are one passage, so a phrase may span lines.

use std::iter::Peekable;
use std::str::Chars;

/// Consecutive lines of prose.
#[derive(Debug, PartialEq)]
pub(crate) struct Passage {
    pub(crate) kind: Kind,
    /// Number and text of each line, without comment markers.
    pub(crate) lines: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Comment,
    Literal,
    Markdown,
}

/// Comments and string literals of Rust or WIT source.
pub(crate) fn of_rust(source: &str) -> Vec<Passage> {
    let mut scanner = Scanner { rest: source.chars().peekable(), line: 1, passages: Vec::new() };
    scanner.run();
    scanner.passages
}

/// Comments of YAML, TOML, Python or shell source: from `#` at a line's start or after a space.
pub(crate) fn of_hash_comments(source: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let comment = line.match_indices('#').map(|(at, _)| at).find(|at| *at == 0 || line[..*at].ends_with(' '));
        if let Some(at) = comment {
            add_comment(&mut passages, index + 1, line[at..].trim_start_matches('#').trim().to_owned());
        }
    }
    passages
}

/// Paragraphs of Markdown, without fenced code blocks and tables' rules.
pub(crate) fn of_markdown(source: &str) -> Vec<Passage> {
    let mut passages: Vec<Passage> = Vec::new();
    let mut fenced = false;
    let mut open = false;
    for (index, line) in source.lines().enumerate() {
        let text = line.trim();
        let fence = text.starts_with("```");
        fenced ^= fence;
        if fenced || fence || text.is_empty() {
            open = false;
            continue;
        }
        let starts_anew = ["#", "|", "* ", "- "].iter().any(|mark| text.starts_with(mark));
        if !open || starts_anew {
            passages.push(Passage { kind: Kind::Markdown, lines: Vec::new() });
        }
        open = true;
        passages.last_mut().expect("one was just added").lines.push((index + 1, text.to_owned()));
    }
    passages
}

fn add_comment(passages: &mut Vec<Passage>, line: usize, text: String) {
    let follows = |passage: &&mut Passage| {
        passage.kind == Kind::Comment && passage.lines.last().is_some_and(|(last, _)| last + 1 == line)
    };
    match passages.last_mut().filter(follows) {
        Some(passage) if !text.is_empty() => passage.lines.push((line, text)),
        _ => passages.push(Passage { kind: Kind::Comment, lines: vec![(line, text)] }),
    }
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    passages: Vec<Passage>,
}

// === impl Scanner ===

impl Scanner<'_> {
    fn run(&mut self) {
        let mut previous = ' ';
        while let Some(next) = self.next() {
            match next {
                '/' if self.rest.peek() == Some(&'/') => self.line_comment(),
                '/' if self.rest.peek() == Some(&'*') => self.block_comment(),
                '"' => self.literal(),
                'r' if !is_word(previous) || previous == 'b' || previous == 'c' => self.raw_literal(),
                '\'' => self.character(),
                _ => {}
            }
            previous = next;
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn line_comment(&mut self) {
        let line = self.line;
        let mut text = String::new();
        while let Some(next) = self.rest.next_if(|next| *next != '\n') {
            text.push(next);
        }
        let text = text.trim_start_matches(['/', '!']).trim().to_owned();
        add_comment(&mut self.passages, line, text);
    }

    fn block_comment(&mut self) {
        let mut passage = Passage { kind: Kind::Comment, lines: Vec::new() };
        let (mut line, mut text, mut depth) = (self.line, String::new(), 0_usize);
        let mut previous = '/';
        while let Some(next) = self.next() {
            match (previous, next) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {}
            }
            if next == '\n' {
                passage.lines.push((line, std::mem::take(&mut text)));
                line = self.line;
            } else {
                text.push(next);
            }
            // A closing or opening pair is not the start of another one.
            previous = if matches!((previous, next), ('/', '*') | ('*', '/')) { ' ' } else { next };
            if depth == 0 {
                break;
            }
        }
        passage.lines.push((line, text));
        self.passages.push(passage);
    }

    fn literal(&mut self) {
        let mut lines = Lines::new(self.line);
        while let Some(next) = self.next() {
            match next {
                '"' => break,
                '\\' => match self.next() {
                    // A continued line has no line break in the value.
                    Some('\n') => {
                        lines.break_line(self.line);
                    }
                    Some('n') => lines.text.push(' '),
                    Some(escaped) => lines.text.push(escaped),
                    None => break,
                },
                '\n' => lines.break_line(self.line),
                _ => lines.text.push(next),
            }
        }
        self.passages.push(lines.end());
    }

    /// After `r`: a raw string, or the rest of a word.
    fn raw_literal(&mut self) {
        let mut ahead = self.rest.clone();
        let mut hashes = 0;
        while ahead.next_if_eq(&'#').is_some() {
            hashes += 1;
        }
        if ahead.next() != Some('"') {
            return;
        }
        for _ in 0..=hashes {
            self.next();
        }
        let mut lines = Lines::new(self.line);
        while let Some(next) = self.next() {
            if next == '"' && self.rest.clone().take(hashes).filter(|next| *next == '#').count() == hashes {
                break;
            }
            if next == '\n' {
                lines.break_line(self.line);
            } else {
                lines.text.push(next);
            }
        }
        for _ in 0..hashes {
            self.next();
        }
        self.passages.push(lines.end());
    }

    /// After `'`: a character, or a lifetime.
    fn character(&mut self) {
        let mut ahead = self.rest.clone();
        let first = ahead.next();
        if first == Some('\\') {
            self.next();
            self.next();
            while self.rest.peek().is_some_and(|next| *next != '\'' && *next != '\n') {
                self.next();
            }
            self.next();
        } else if ahead.next() == Some('\'') {
            self.next();
            self.next();
        }
    }
}

/// The lines of a string literal as they are read.
struct Lines {
    line: usize,
    text: String,
    lines: Vec<(usize, String)>,
}

// === impl Lines ===

impl Lines {
    fn new(line: usize) -> Self {
        Self { line, text: String::new(), lines: Vec::new() }
    }

    fn break_line(&mut self, next: usize) {
        self.lines.push((self.line, std::mem::take(&mut self.text)));
        self.line = next;
    }

    fn end(mut self) -> Passage {
        self.lines.push((self.line, self.text));
        Passage { kind: Kind::Literal, lines: self.lines }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(kind: Kind, lines: &[(usize, &str)]) -> Passage {
        Passage { kind, lines: lines.iter().map(|(line, text)| (*line, (*text).to_owned())).collect() }
    }

    #[test]
    fn joins_successive_comment_lines() {
        let found = of_rust("//! One\n//! two.\n\n/// Three.\nfn f() {} // four\n");
        assert_eq!(
            found,
            [passage(Kind::Comment, &[(1, "One"), (2, "two.")]), passage(Kind::Comment, &[(4, "Three."), (5, "four")]),]
        );
    }

    #[test]
    fn reads_literals_and_no_lifetimes_or_characters() {
        let found = of_rust("fn f<'a>(x: &'a str) { g('\"', '\\'', \"a \\\"b\\\"\", r#\"c \"d\"\"#, br\"e\") }");
        let texts: Vec<_> = found.iter().map(|passage| passage.lines[0].1.as_str()).collect();
        assert_eq!(texts, ["a \"b\"", "c \"d\"", "e"]);
    }

    #[test]
    fn reads_block_comments_and_continued_literals() {
        let found = of_rust("/* a /* b */\nc */ \"d \\\n  e\" // f");
        assert_eq!(found[0].lines[1], (2, "c */".to_owned()));
        assert_eq!(found[1], passage(Kind::Literal, &[(2, "d "), (3, "  e")]));
        assert_eq!(found[2], passage(Kind::Comment, &[(3, "f")]));
    }

    #[test]
    fn reads_hash_comments() {
        let found = of_hash_comments("# one\n# two\na: b#c # three\nurl: x\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].lines, [(1, "one".to_owned()), (2, "two".to_owned()), (3, "three".to_owned())].to_vec());
    }

    #[test]
    fn leaves_out_code_blocks_of_markdown() {
        let found = of_markdown("# Head\n\nOne\ntwo.\n\n```rust\ncode\n```\n* item\n  more\n* next\n");
        let lines: Vec<_> = found.iter().map(|passage| passage.lines.len()).collect();
        assert_eq!(lines, [1, 2, 2, 1]);
    }
}
