//! Phrases that make comments, messages and documents hard to read, and do not belong in plain
//! technical English.
//!
//! `*` stands for one word, `|` separates alternatives of one word. A phrase does not continue over
//! punctuation. Markdown between `<!-- language: off -->` and `<!-- language: on -->` is not
//! checked: examples of what to avoid.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::budget::{self, Budget, Violation};
use super::repository::{File, files};
use super::text::{self, Kind, Passage};

/// Phrases that still occur, by area.
const BUDGET: &Budget = &[];

/// The phrases, each with a replacement.
const PHRASES: [(&str, &str); 59] = [
    ("that there is|are|was|were|be", "name the thing: \"the existing …\", or leave it out"),
    ("is|are|was another", "\"differs\", \"changes\", \"belongs to another …\""),
    ("nobody|nobody's", "the noun: \"no client\", \"no other task\""),
    ("somebody|somebody's", "the noun: \"the operator\", \"the pod's\""),
    ("anybody|anybody's", "the noun: \"any client\""),
    ("everybody|everybody's", "the noun: \"all users\""),
    ("whoever|whomever", "the noun: \"a client that …\""),
    ("whom it|they|to|else", "the noun: \"the user that …\""),
    ("people|people's", "\"pod authors\", \"operators\", \"readers\""),
    ("who to be", "\"credentials for …\""),
    ("what is * is", "the noun: \"the configured value is\""),
    ("what is * * is", "the noun"),
    ("what are * are", "the noun"),
    ("is|are|was|were what", "\"is the …\" with the noun"),
    ("which is what", "\"this is the …\" with the noun"),
    ("is|are|was|were had", "\"is obtained\", \"is loaded\""),
    ("to be had", "\"available\""),
    ("as it|they may", "the limit: \"the maximum number of …\""),
    ("than it|they may", "the limit: \"more than the maximum\""),
    ("is|are|was|were said", "\"is configured\", \"is set\", \"is reported\""),
    ("be said", "\"be expressed\", \"be configured\""),
    ("says", "\"specifies\", \"reports\", \"names\", \"states\""),
    ("say|said so", "\"report it\""),
    ("say|said which|what|whether|how|why|where", "\"report\", \"specify\""),
    ("what it|they say|said|says", "\"its answer\", \"its message\""),
    ("tell|tells|told apart|from", "\"distinguish\""),
    ("is|are|was|were told", "\"receives\", \"is notified\""),
    ("tells which|what|whether|how|why|where", "\"reports\", \"returns\""),
    ("stands|stand in|at|on|by|beside|before|after|below|above|there|here|under|between|among|alone", "\"is\""),
    ("what stands", "the noun: \"the value\""),
    ("is|are none", "\"is absent\", \"does not exist\", or `None`"),
    ("does|do so too", "\"also does\""),
    ("nor does|do|is|are|has|was|were|can|may", "\"and does not\": no inversion"),
    ("of those that|which", "the noun"),
    ("those who|whose", "the noun"),
    ("the likes", "\"such as\""),
    ("at work", "\"running\", \"in use\""),
    ("under way", "\"in progress\""),
    ("at hand", "\"available\""),
    ("is|are|was|were not there", "\"does not exist\""),
    ("there already", "\"that already exists\""),
    ("comes|come to know", "\"learns\""),
    ("comes|come to nothing|now", "\"evaluates to\", \"fails\""),
    ("what became|becomes of", "\"the state of\", \"the result of\""),
    ("gone by now|then", "\"no longer exists\""),
    ("knows no|neither", "\"has no\", \"does not support\""),
    ("know no|neither", "\"have no\", \"do not support\""),
    ("for ever", "\"forever\", \"without end\""),
    ("what others", "the noun"),
    ("others'|another's", "the noun: \"of other plugins\""),
    ("takes along", "\"also removes\""),
    ("belongs|belong into", "\"belongs to\", \"belongs in\""),
    ("or what is|are", "the noun"),
    ("it is for want of", "\"because … is missing\""),
    ("has|have it that", "\"states\""),
    ("goes by|unsaid|without", "\"is identified by\""),
    ("lest|whereupon|thereby|therein|thereof|whence|thence|hither|thither", "a plain conjunction"),
    ("let alone", "\"and not\""),
    ("nothing but", "\"only\""),
];

/// Recordings of another program's behaviour, and the list above.
const UNCHECKED: [&str; 3] = ["tests/parity/", "tests/bench/report/", "tests/tidy/language.rs"];

#[test]
fn comments_messages_and_documents_use_plain_english() {
    let patterns = ["*.rs", "*.wit", "*.md", "*.yaml", "*.yml", "*.toml", "*.py", "*.in", "Containerfile"];
    let mut violations = Vec::new();
    for file in files(&patterns) {
        if UNCHECKED.iter().any(|prefix| file.path.starts_with(prefix)) {
            continue;
        }
        for (line, phrase, advice) in phrases(&passages(&file)) {
            let message = format!("{}:{line}: \"{phrase}\": write {advice}", file.path);
            violations.push(Violation { area: file.area(), weight: 1, message });
        }
    }
    budget::hold("write plain technical English", "tests/tidy/language.rs", BUDGET, &violations);
}

fn passages(file: &File) -> Vec<Passage> {
    match file.path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("rs" | "wit") => text::of_rust(&file.text),
        Some("md") => text::of_markdown(&checked(&file.text)),
        _ => text::of_hash_comments(&file.text),
    }
}

/// Markdown with the lines between the two markers emptied, so that line numbers stay.
fn checked(markdown: &str) -> String {
    let mut on = true;
    let lines = markdown.lines().map(|line| {
        match line.trim() {
            "<!-- language: off -->" => on = false,
            "<!-- language: on -->" => on = true,
            _ => {}
        }
        if on { line } else { "" }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A phrase as alternatives for each of its words, with the advice.
type Pattern = (Vec<Vec<&'static str>>, &'static str);

/// The phrases by each of their first words.
static PATTERNS: LazyLock<HashMap<&'static str, Vec<Pattern>>> = LazyLock::new(|| {
    let mut patterns: HashMap<_, Vec<Pattern>> = HashMap::new();
    for (phrase, advice) in PHRASES {
        let words: Vec<Vec<_>> = phrase.split(' ').map(|word| word.split('|').collect()).collect();
        for first in &words[0] {
            patterns.entry(*first).or_default().push((words.clone(), advice));
        }
    }
    patterns
});

/// Every phrase of the list in the passages: its line, the words found, and the advice.
fn phrases(passages: &[Passage]) -> Vec<(usize, String, &'static str)> {
    let mut found = Vec::new();
    for passage in passages {
        let words = words(passage);
        for (start, first) in words.iter().enumerate() {
            for (pattern, advice) in PATTERNS.get(first.text.as_str()).into_iter().flatten() {
                let Some(candidate) = words.get(start..start + pattern.len()) else { continue };
                if pattern.iter().zip(candidate).all(|(alternatives, word)| word.matches(alternatives)) {
                    let text: Vec<_> = candidate.iter().map(|word| word.text.as_str()).collect();
                    found.push((first.line, text.join(" "), *advice));
                }
            }
        }
    }
    found
}

/// A word in lower case, or empty for punctuation.
struct Word {
    line: usize,
    text: String,
}

// === impl Word ===

impl Word {
    fn matches(&self, alternatives: &[&str]) -> bool {
        !self.text.is_empty() && alternatives.iter().any(|word| *word == "*" || *word == self.text)
    }
}

fn words(passage: &Passage) -> Vec<Word> {
    let part_of_word = |character: char| character.is_alphanumeric() || "'`_-{}".contains(character);
    let mut words = Vec::new();
    for (line, text) in &passage.lines {
        for chunk in text.split_whitespace() {
            let mut add = |text: &str| words.push(Word { line: *line, text: text.to_lowercase() });
            if chunk.trim_start_matches(part_of_word).is_empty() {
                add(chunk);
                continue;
            }
            if chunk.starts_with(|character| !part_of_word(character)) {
                add("");
            }
            let bare = chunk.trim_matches(|character| !part_of_word(character));
            // `a.b` and `a/b` are names, and match no word.
            add(bare);
            if chunk.ends_with(|character| !part_of_word(character)) {
                add("");
            }
        }
    }
    // A literal with one word, such as a key, is no sentence.
    if passage.kind == Kind::Literal && words.len() < 3 {
        words.clear();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(passages: &[Passage]) -> Vec<(usize, String)> {
        phrases(passages).into_iter().map(|(line, phrase, _)| (line, phrase)).collect()
    }

    #[test]
    fn finds_phrases_in_comments_and_messages() {
        let source = "/// Takes every value that\n/// there is.\nfn f() { bail!(\"the file says {x}\") }\n";
        assert_eq!(found(&text::of_rust(source)), [(1, "that there is".to_owned()), (3, "says".to_owned())]);
        let markdown = "What is different is on purpose.";
        assert_eq!(found(&text::of_markdown(markdown)), [(1, "what is different is".to_owned())]);
        assert_eq!(found(&text::of_hash_comments("a: b # for whoever reads")), [(1, "whoever".to_owned())]);
    }

    #[test]
    fn leaves_plain_sentences_names_and_code_alone() {
        let source = "/// Reports `says`, and that. There is a limit; what is\nlet says = nobody(\"says\");\n";
        assert_eq!(found(&text::of_rust(source)), []);
        assert_eq!(found(&text::of_markdown("Text.\n\n```\nnobody says\n```\n")), []);
    }

    #[test]
    fn examples_of_what_to_avoid_are_not_checked() {
        let markdown = "<!-- language: off -->\nnobody says\n<!-- language: on -->\nnobody\n";
        assert_eq!(found(&text::of_markdown(&checked(markdown))), [(4, "nobody".to_owned())]);
    }
}
