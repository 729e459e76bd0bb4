//! The regular expressions of rules, compiled once: [`Patterns`].
//!
//! The crate `regex` matches in linear time. The size of a compiled pattern is limited.

use std::{collections::BTreeMap, sync::Arc};

use cel::{Context, ExecutionError, extractors::This};
use regex::{Regex, RegexBuilder};

/// Maximum size of a compiled pattern in bytes.
const COMPILED: usize = 64 << 10;

/// The patterns of one rule by their text.
#[derive(Clone, Default)]
pub(crate) struct Patterns {
    compiled: Arc<BTreeMap<String, Regex>>,
}

// === impl Patterns ===

impl Patterns {
    /// Compiles the patterns of a rule, or returns the reason why a pattern is refused.
    pub(crate) fn compile(patterns: &[&str]) -> Result<Self, String> {
        let mut compiled = BTreeMap::new();
        for pattern in patterns {
            let built = RegexBuilder::new(pattern).size_limit(COMPILED).dfa_size_limit(COMPILED).build();
            let regex = built.map_err(|error| describe(&error))?;
            compiled.insert((*pattern).to_owned(), regex);
        }
        Ok(Self { compiled: Arc::new(compiled) })
    }

    /// Adds the function `matches` to a context.
    pub(crate) fn register(&self, context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
        if self.compiled.is_empty() {
            return Ok(());
        }
        let compiled = Arc::clone(&self.compiled);
        context.add_function("matches", move |This(text): This<Arc<String>>, pattern: Arc<String>| {
            let regex = compiled.get(pattern.as_str());
            let regex = regex.ok_or_else(|| ExecutionError::function_error("matches", "unknown pattern"))?;
            Ok::<_, ExecutionError>(regex.is_match(&text))
        })
    }
}

/// The reason in one line, without the pattern and the mark of the position.
fn describe(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("the regular expression is larger than {COMPILED} bytes when compiled; use a shorter one")
        }
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("the regular expression is not valid: {last}")
        }
    }
}
