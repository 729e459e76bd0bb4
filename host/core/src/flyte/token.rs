//! Tokenizer for protobuf's text format, with the positions that Go's parser reports.
//!
//! A position is that of the last token, also after the end of the input. Lines are counted from
//! one. Messages give the byte offset, counted from zero, only on the first line.

use std::fmt;

use super::literal;
use crate::text;

/// A token of the input.
#[derive(Debug)]
pub(super) struct TextToken<'a> {
    /// The text of the token; empty only at the end of the input. Adjacent literals are one token,
    /// from the first quote to the last.
    pub(super) source: &'a [u8],
    /// The value of a quoted string.
    pub(super) literal: Option<Vec<u8>>,
}

/// A syntax error and its position.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {problem}")]
pub(super) struct SyntaxError {
    position: Position,
    problem: String,
}

/// Reads the tokens of an input, each byte once.
pub(super) struct Tokenizer<'a> {
    input: &'a [u8],
    next: Position,
    last: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    line: usize,
    /// In bytes from the start of the input, not of the line.
    offset: usize,
}

// === impl Tokenizer ===

impl<'a> Tokenizer<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let start = Position { line: 1, offset: 0 };
        Self { input, next: start, last: start }
    }

    /// Reads the next token. After the last token, every call returns an empty token.
    pub(super) fn read(&mut self) -> Result<TextToken<'a>, SyntaxError> {
        self.skip_blanks();
        let Some(first) = self.peek() else {
            return Ok(TextToken { source: b"", literal: None });
        };
        self.last = self.next;
        match first {
            b'"' | b'\'' => self.read_literals(),
            b'<' | b'>' | b'{' | b'}' | b':' | b'[' | b']' | b';' | b',' | b'/' => Ok(self.take(1)),
            _ => match self.rest().iter().take_while(|byte| is_word(**byte)).count() {
                0 => Err(self.error(format!("unexpected byte {first:#x}"))),
                length => Ok(self.take(length)),
            },
        }
    }

    /// Returns an error at the position of the last token.
    pub(super) fn error(&self, problem: String) -> SyntaxError {
        SyntaxError { position: self.last, problem }
    }

    /// Reads adjacent string literals and concatenates their values.
    fn read_literals(&mut self) -> Result<TextToken<'a>, SyntaxError> {
        let first = self.next;
        let mut value = Vec::new();
        let mut end = first.offset;
        while matches!(self.peek(), Some(b'"' | b'\'')) {
            self.last = self.next;
            self.read_literal(&mut value)?;
            end = self.next.offset;
            self.skip_blanks();
        }
        self.last = first;
        Ok(TextToken { source: &self.input[first.offset..end], literal: Some(value) })
    }

    fn read_literal(&mut self, value: &mut Vec<u8>) -> Result<(), SyntaxError> {
        let source = self.quoted().ok_or_else(|| self.error("unmatched quote".to_owned()))?;
        literal::unescape(&source[1..source.len() - 1], value)
            .map_err(|error| self.error(format!("invalid quoted string {}: {error}", text::escape(source))))?;
        self.next.offset += source.len();
        Ok(())
    }

    /// Returns the literal at the current position, with its quotes, if it ends on the same line.
    fn quoted(&self) -> Option<&'a [u8]> {
        let rest = self.rest();
        let quote = *rest.first()?;
        let mut at = 1;
        loop {
            match *rest.get(at)? {
                b'\\' => at += 2,
                b'\n' => return None,
                byte if byte == quote => return Some(&rest[..=at]),
                _ => at += 1,
            }
        }
    }

    /// Skips comments and the four white-space characters of the format.
    fn skip_blanks(&mut self) {
        let mut in_comment = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => {
                    in_comment = false;
                    self.next.line += 1;
                }
                b'#' => in_comment = true,
                b' ' | b'\t' | b'\r' => {}
                _ if in_comment => {}
                _ => return,
            }
            self.next.offset += 1;
        }
    }

    fn take(&mut self, length: usize) -> TextToken<'a> {
        let source = &self.rest()[..length];
        self.next.offset += length;
        TextToken { source, literal: None }
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn rest(&self) -> &'a [u8] {
        &self.input[self.next.offset..]
    }
}

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            1 => write!(f, "line 1.{}", self.offset),
            line => write!(f, "line {line}"),
        }
    }
}

/// Whether names and numbers may contain this byte. Dots, signs and digits are allowed anywhere.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares all tokens, each as its source, followed by an arrow and the value of a literal.
    fn check(input: &str, expected: Result<&[&str], &str>) {
        let actual = all(input.as_bytes()).map_err(|error| error.to_string());
        let expected = expected.map(|tokens| tokens.iter().copied().map(str::to_owned).collect());
        assert_eq!(actual, expected.map_err(str::to_owned), "{input:?}");
    }

    fn all(input: &[u8]) -> Result<Vec<String>, SyntaxError> {
        let mut tokens = Tokenizer::new(input);
        let mut shown = Vec::new();
        loop {
            let TextToken { source, literal } = tokens.read()?;
            let source = String::from_utf8_lossy(source);
            match literal {
                _ if source.is_empty() => return Ok(shown),
                None => shown.push(source.into_owned()),
                Some(value) => shown.push(format!("{source} → {}", value.escape_ascii())),
            }
        }
    }

    #[test]
    fn splits_words_symbols_and_literals() {
        check("", Ok(&[]));
        check("key:\"a\"", Ok(&["key", ":", "\"a\" → a"]));
        check("<>{}:[];,/", Ok(&["<", ">", "{", "}", ":", "[", "]", ";", ",", "/"]));
        check("a.b-c+d_9 0x2", Ok(&["a.b-c+d_9", "0x2"]));
    }

    #[test]
    fn skips_white_space_and_comments() {
        check(" \t\r\n#", Ok(&[]));
        check("# a \"b\n#c#d\r\ne#f", Ok(&["e"]));
        check("a#b\nc", Ok(&["a", "c"]));
    }

    #[test]
    fn joins_adjacent_literals() {
        check(r#""a""b""#, Ok(&[r#""a""b" → ab"#]));
        check("'a' # b\n\t\"c\" d", Ok(&["'a' # b\n\t\"c\" → ac", "d"]));
        check(r#""\303" "\251""#, Ok(&[r#""\303" "\251" → \xc3\xa9"#]));
        check(r#""" ''"#, Ok(&[r#""" '' → "#]));
    }

    #[test]
    fn ends_a_literal_at_its_own_quote() {
        check(r#""it's""#, Ok(&[r#""it's" → it\'s"#]));
        check(r#"'"'"#, Ok(&[r#"'"' → \""#]));
        check(r#""\"""#, Ok(&[r#""\"" → \""#]));
        check(r#""\\"x"#, Ok(&[r#""\\" → \\"#, "x"]));
    }

    #[test]
    fn refuses_a_literal_that_does_not_end_on_its_line() {
        check(r#"key:"a"#, Err("line 1.4: unmatched quote"));
        check("key:\"a\nb\"", Err("line 1.4: unmatched quote"));
        check(r#""a\"#, Err("line 1.0: unmatched quote"));
        check(r#""a\""#, Err("line 1.0: unmatched quote"));
        check("\n'a\"", Err("line 2: unmatched quote"));
        check("\"a\" '", Err("line 1.4: unmatched quote"));
    }

    #[test]
    fn reports_a_bad_escape_at_the_position_of_its_literal() {
        check(r#""a" "\q""#, Err(r#"line 1.4: invalid quoted string "\q": unknown escape \q"#));
        check("\n\n \"\\0\"", Err(r#"line 3: invalid quoted string "\0": \0 requires 2 following digits"#));
        check("\"a\\\nb\"", Err(r#"line 1.0: invalid quoted string "a\\nb": unknown escape \\n"#));
    }

    #[test]
    fn refuses_a_byte_that_starts_no_token() {
        check("a *", Err("line 1.2: unexpected byte 0x2a"));
        check("\x0b", Err("line 1.0: unexpected byte 0xb"));
        check("é", Err("line 1.0: unexpected byte 0xc3"));
        check("\n\0", Err("line 2: unexpected byte 0x0"));
    }
}
