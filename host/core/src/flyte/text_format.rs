//! `core.Secret` in protobuf text format, in the dialect of Go's `golang/protobuf`, which Flyte
//! uses.
//!
//! The message is flat, so that the parser needs no recursion and reads every byte a bounded number
//! of times.

use super::token::{SyntaxError, TextToken, Tokenizer};
use crate::{
    request::{MountRequirement, SecretRequest},
    text,
};

/// The values of the enum, indexed by their protobuf numbers.
const MOUNTS: [(&str, MountRequirement); 3] =
    [("ANY", MountRequirement::Any), ("ENV_VAR", MountRequirement::EnvVar), ("FILE", MountRequirement::File)];

/// Reasons why a text is not a secret request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TextError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("field {0:?} of core.Secret is not valid UTF-8")]
    NotUtf8(&'static str),
    #[error("unrecognized mount requirement [{number}] for secret [{key}]")]
    UnrecognizedMount { number: i32, key: String },
}

/// The fields of a message; `None` if a field is absent.
#[derive(Default)]
struct SecretFields {
    group: Option<Vec<u8>>,
    group_version: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    mount_requirement: Option<i32>,
    env_var: Option<Vec<u8>>,
}

/// Parses a text. An empty text is the empty request, and an empty `env_var` becomes `None`.
///
/// # Errors
///
/// Returns the first syntax error; without a syntax error, a string that is not UTF-8 or a number
/// without a mount requirement.
pub(super) fn parse(text: &[u8]) -> Result<SecretRequest, TextError> {
    let mut tokens = Tokenizer::new(text);
    let mut fields = SecretFields::default();
    let mut name = tokens.read()?;
    while !name.source.is_empty() {
        fields.read(&name, &mut tokens)?;
        name = tokens.read()?;
        if matches!(name.source, b";" | b",") {
            name = tokens.read()?;
        }
    }
    fields.check()
}

/// Prints the text as Go does: one field per line, ordered by field number, without default values.
pub(super) fn print(request: &SecretRequest) -> String {
    let mut text = String::new();
    print_string(&mut text, "group", &request.group);
    print_string(&mut text, "group_version", &request.group_version);
    print_string(&mut text, "key", &request.key);
    match request.mount {
        MountRequirement::Any => {}
        MountRequirement::EnvVar => text.push_str("mount_requirement: ENV_VAR\n"),
        MountRequirement::File => text.push_str("mount_requirement: FILE\n"),
    }
    print_string(&mut text, "env_var", request.env_var.as_deref().unwrap_or_default());
    text
}

fn print_string(text: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    text.push_str(name);
    text.push_str(": \"");
    for byte in value.bytes() {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text.push_str("\"\n");
}

// === impl SecretFields ===

impl SecretFields {
    /// Reads the colon and the value of the field `name`.
    fn read(&mut self, name: &TextToken<'_>, tokens: &mut Tokenizer<'_>) -> Result<(), SyntaxError> {
        match name.source {
            b"group" => read_string("group", &mut self.group, tokens),
            b"group_version" => read_string("group_version", &mut self.group_version, tokens),
            b"key" => read_string("key", &mut self.key, tokens),
            b"mount_requirement" => read_mount("mount_requirement", &mut self.mount_requirement, tokens),
            b"env_var" => read_string("env_var", &mut self.env_var, tokens),
            b"[" => Err(tokens.error("core.Secret has no extensions, found \"[\"".to_owned())),
            other => Err(tokens.error(format!("unknown field name {} in core.Secret", text::quote(other)))),
        }
    }

    /// Checks the constraints that the syntax does not express.
    fn check(self) -> Result<SecretRequest, TextError> {
        let group = utf8("group", self.group)?;
        let group_version = utf8("group_version", self.group_version)?;
        let key = utf8("key", self.key)?;
        let env_var = Some(utf8("env_var", self.env_var)?).filter(|name| !name.is_empty());
        let number = self.mount_requirement.unwrap_or_default();
        match usize::try_from(number).ok().and_then(|number| MOUNTS.get(number)) {
            Some((_, mount)) => {
                Ok(SecretRequest { group, group_version, key, mount: *mount, env_var, ..SecretRequest::default() })
            }
            None => Err(TextError::UnrecognizedMount { number, key: text::escape(key.as_bytes()) }),
        }
    }
}

fn utf8(name: &'static str, value: Option<Vec<u8>>) -> Result<String, TextError> {
    String::from_utf8(value.unwrap_or_default()).map_err(|_| TextError::NotUtf8(name))
}

fn read_string(name: &str, field: &mut Option<Vec<u8>>, tokens: &mut Tokenizer<'_>) -> Result<(), SyntaxError> {
    let value = read_value(name, field, tokens)?;
    let Some(literal) = value.literal else {
        return Err(tokens.error(format!("invalid string: {}", text::escape(value.source))));
    };
    *field = Some(literal);
    Ok(())
}

/// Reads the enum by number or by name. Accepts any 32-bit number, because Go keeps unknown
/// numbers.
fn read_mount(name: &str, field: &mut Option<i32>, tokens: &mut Tokenizer<'_>) -> Result<(), SyntaxError> {
    let value = read_value(name, field, tokens)?.source;
    let Some(number) = parse_integer(value).or_else(|| mount_number(value)) else {
        return Err(tokens.error(format!("invalid enum: {}", text::escape(value))));
    };
    *field = Some(number);
    Ok(())
}

fn mount_number(name: &[u8]) -> Option<i32> {
    let (number, _) = (0..).zip(MOUNTS).find(|(_, (known, _))| known.as_bytes() == name)?;
    Some(number)
}

/// Reads the colon and the token after it, unless the field already has a value.
fn read_value<'a, T>(name: &str, field: &Option<T>, tokens: &mut Tokenizer<'a>) -> Result<TextToken<'a>, SyntaxError> {
    if field.is_some() {
        return Err(tokens.error(format!("non-repeated field {name:?} was repeated")));
    }
    let colon = tokens.read()?.source;
    if colon != b":" {
        return Err(tokens.error(format!("expected ':', found {}", text::quote(colon))));
    }
    let value = tokens.read()?;
    if value.source.is_empty() {
        return Err(tokens.error("unexpected EOF".to_owned()));
    }
    Ok(value)
}

/// Parses a 32-bit integer as Go's `strconv.ParseInt` does in base 0: `2`, `-2`, `+0x2`, `0b1_0`,
/// `0o2`, `02`.
fn parse_integer(word: &[u8]) -> Option<i32> {
    let (sign, unsigned) = match word {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        rest => (1, rest),
    };
    let (base, digits) = match unsigned {
        [b'0', b'x' | b'X', digits @ ..] if !digits.is_empty() => (16, digits),
        [b'0', b'o' | b'O', digits @ ..] if !digits.is_empty() => (8, digits),
        [b'0', b'b' | b'B', digits @ ..] if !digits.is_empty() => (2, digits),
        // The zero of `02` remains a digit: an underscore may follow it, like after `0x`.
        [b'0', ..] => (8, unsigned),
        _ => (10, unsigned),
    };
    let prefixed = digits.len() < unsigned.len();
    i32::try_from(sign * parse_digits(digits, base, prefixed)?).ok()
}

/// Parses digits with single underscores between them, and one before them if `prefixed`.
fn parse_digits(digits: &[u8], base: u32, prefixed: bool) -> Option<i64> {
    let mut number = 0_i64;
    let mut after_digit = prefixed;
    for byte in digits {
        if *byte == b'_' && after_digit {
            after_digit = false;
            continue;
        }
        let digit = char::from(*byte).to_digit(base)?;
        number = number.checked_mul(i64::from(base))?.checked_add(i64::from(digit))?;
        after_digit = true;
    }
    after_digit.then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parts of valid and invalid texts, separated by spaces.
    const PIECES: &str =
        concat!("group key mount_requirement env_var : ' \" a # ; FILE 9 - _ 0x ", r"\ \x \u \U0011 0000 é [ }",);

    fn any_piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(PIECES.split(' ').collect::<Vec<_>>())
    }

    fn check(text: &[u8], expected: Result<&SecretRequest, &str>) {
        let actual = parse(text).map_err(|error| error.to_string());
        assert_eq!(actual.as_ref().map_err(String::as_str), expected, "{}", text.escape_ascii());
    }

    fn check_key(text: &str, key: &str) {
        check(text.as_bytes(), Ok(&SecretRequest { key: key.to_owned(), ..Default::default() }));
    }

    fn check_mount(number: &str, mount: MountRequirement) {
        let text = format!("mount_requirement: {number}");
        check(text.as_bytes(), Ok(&SecretRequest { mount, ..Default::default() }));
    }

    fn check_error(text: &str, error: &str) {
        check(text.as_bytes(), Err(error));
    }

    fn full() -> SecretRequest {
        SecretRequest {
            group: "user-info".to_owned(),
            group_version: "v1".to_owned(),
            key: "it's\n\r\t\"\\\0é".to_owned(),
            mount: MountRequirement::File,
            env_var: Some("MY_VAR".to_owned()),
            ..SecretRequest::default()
        }
    }

    #[test]
    fn prints_fields_by_number_and_escapes_the_same_characters_as_go() {
        let lines = [
            r#"group: "user-info""#,
            r#"group_version: "v1""#,
            r#"key: "it's\n\r\t\"\\\000\303\251""#,
            r#"mount_requirement: FILE"#,
            r#"env_var: "MY_VAR""#,
            "",
        ];
        assert_eq!(print(&full()), lines.join("\n"));
    }

    #[test]
    fn prints_nothing_for_a_default_value() {
        assert_eq!(print(&SecretRequest::default()), "");
        assert_eq!(print(&SecretRequest { env_var: Some(String::new()), ..Default::default() }), "");
        assert_eq!(print(&SecretRequest { key: "~\x7f".to_owned(), ..Default::default() }), "key: \"~\\177\"\n");
    }

    #[test]
    fn reads_fields_in_any_order_and_with_any_separator() {
        check(print(&full()).as_bytes(), Ok(&full()));
        let text = concat!(
            r#"env_var:'MY_VAR';mount_requirement:FILE,key:"it's\n\r\t\"\\\000" "\u00e9""#,
            r#"group_version:"v" "1";group:'user-info'"#,
        );
        check(text.as_bytes(), Ok(&full()));
    }

    #[test]
    fn reads_an_empty_text_as_the_empty_request() {
        check(b"", Ok(&SecretRequest::default()));
        check(b" \t\r\n# nothing", Ok(&SecretRequest::default()));
        check(br#"key: "" env_var: "" mount_requirement: ANY"#, Ok(&SecretRequest::default()));
    }

    #[test]
    fn reads_white_space_comments_and_one_separator() {
        check_key("  key\n:\t#x\n'a'\r\n;", "a");
        check_key("key:\"a\",#", "a");
        check_key("key:\"a\"# ;\n;", "a");
        check_error("key:\"a\";;", r#"line 1.8: unknown field name ";" in core.Secret"#);
        check_error(";key:\"a\"", r#"line 1.0: unknown field name ";" in core.Secret"#);
    }

    #[test]
    fn reads_a_mount_requirement_by_name() {
        check_mount("ANY", MountRequirement::Any);
        check_mount("ENV_VAR", MountRequirement::EnvVar);
        check_mount("FILE", MountRequirement::File);
    }

    #[test]
    fn reads_a_mount_requirement_in_any_integer_syntax_of_go() {
        for zero in "0 -0 +0 00 0x0 0_0".split(' ') {
            check_mount(zero, MountRequirement::Any);
        }
        for one in "1 +1 01 0B1 0_1".split(' ') {
            check_mount(one, MountRequirement::EnvVar);
        }
        for two in "2 02 0x2 0X02 0x_2 0o2 0O2 0b10 0b1_0 +0x2 0000000000000000000000002".split(' ') {
            check_mount(two, MountRequirement::File);
        }
    }

    #[test]
    fn refuses_a_mount_that_is_neither_a_name_nor_an_integer() {
        for word in "file ENV any _1 1_ 1__0 08 0x 0b2 0x_ - +-1 0x-1 1.0 2147483648".split(' ') {
            check_error(&format!("mount_requirement: {word}"), &format!("line 1.19: invalid enum: {word}"));
        }
        check_error("mount_requirement:\"FILE\"", r#"line 1.18: invalid enum: "FILE""#);
        check_error("mount_requirement: ;", "line 1.19: invalid enum: ;");
    }

    #[test]
    fn refuses_an_unknown_mount_number_and_names_the_key() {
        check_error("mount_requirement: 9 key: 'k'", "unrecognized mount requirement [9] for secret [k]");
        check_error("mount_requirement: 3", "unrecognized mount requirement [3] for secret []");
        check_error("mount_requirement: -1", "unrecognized mount requirement [-1] for secret []");
        check_error("mount_requirement: 0x7f_ff", "unrecognized mount requirement [32767] for secret []");
        check_error("mount_requirement: -2147483648", "unrecognized mount requirement [-2147483648] for secret []");
    }

    #[test]
    fn refuses_an_unknown_field() {
        check_error(r#"foo: "a""#, r#"line 1.0: unknown field name "foo" in core.Secret"#);
        check_error(" Key: 'a'", r#"line 1.1: unknown field name "Key" in core.Secret"#);
        check_error("key: 'a' }", r#"line 1.9: unknown field name "}" in core.Secret"#);
        check_error("key: 'a'\n\n }", r#"line 3: unknown field name "}" in core.Secret"#);
        check_error("3: 'a'", r#"line 1.0: unknown field name "3" in core.Secret"#);
        check_error("'key': 'a'", r#"line 1.0: unknown field name "'key'" in core.Secret"#);
        check_error("\"key\": 'a'", r#"line 1.0: unknown field name "\"key\"" in core.Secret"#);
        check_error("/* key */", r#"line 1.0: unknown field name "/" in core.Secret"#);
        check_error("{ key: 'a' }", r#"line 1.0: unknown field name "{" in core.Secret"#);
    }

    #[test]
    fn refuses_an_extension() {
        check_error("[ext]: 'a'", r#"line 1.0: core.Secret has no extensions, found "[""#);
    }

    #[test]
    fn refuses_a_repeated_field() {
        check_error(r#"key:"a" key:"b""#, r#"line 1.8: non-repeated field "key" was repeated"#);
        check_error("key:'' key", r#"line 1.7: non-repeated field "key" was repeated"#);
        check_error(
            "mount_requirement: 0\nmount_requirement: 0",
            r#"line 2: non-repeated field "mount_requirement" was repeated"#,
        );
    }

    #[test]
    fn refuses_a_field_without_its_colon_or_value() {
        check_error(r#"key "a""#, r#"line 1.4: expected ':', found "\"a\"""#);
        check_error("key {", r#"line 1.4: expected ':', found "{""#);
        check_error("key", r#"line 1.0: expected ':', found """#);
        check_error("key:", "line 1.3: unexpected EOF");
        check_error("key\n:\n\n", "line 2: unexpected EOF");
    }

    #[test]
    fn refuses_a_string_without_quotes() {
        check_error("key:a", "line 1.4: invalid string: a");
        check_error("key: 7", "line 1.5: invalid string: 7");
        check_error("key::", "line 1.4: invalid string: :");
        check_error("key:\n a", "line 2: invalid string: a");
    }

    #[test]
    fn reports_the_errors_of_the_tokenizer() {
        check_error(r#"key:"a"#, "line 1.4: unmatched quote");
        check_error("key*", "line 1.3: unexpected byte 0x2a");
        check_error("key:'a' *", "line 1.8: unexpected byte 0x2a");
    }

    #[test]
    fn joins_a_character_from_the_bytes_of_several_literals() {
        check(b"key:'\xc3' '\xa9'", Ok(&SecretRequest { key: "é".to_owned(), ..Default::default() }));
        check_key(r"key:'\303' '\xa9'", "é");
    }

    #[test]
    fn refuses_a_string_that_is_not_utf_8_and_names_its_field() {
        check(b"key:'\xff'", Err(r#"field "key" of core.Secret is not valid UTF-8"#));
        check_error(r"group:'\377'", r#"field "group" of core.Secret is not valid UTF-8"#);
        check_error(r"group_version:'\xC3'", r#"field "group_version" of core.Secret is not valid UTF-8"#);
        check_error(r"env_var:'a\200'", r#"field "env_var" of core.Secret is not valid UTF-8"#);
    }

    #[test]
    fn reports_a_syntax_error_before_an_error_in_the_content() {
        check_error(r"key:'\377' mount_requirement:9 x", r#"line 1.31: unknown field name "x" in core.Secret"#);
        check_error(r"key:'\377' mount_requirement:9", r#"field "key" of core.Secret is not valid UTF-8"#);
    }

    #[test]
    fn repeats_only_the_start_of_a_long_text() {
        let long = "x".repeat(100_000);
        let start = "x".repeat(40);
        check_error(&long, &format!(r#"line 1.0: unknown field name "{start}…" in core.Secret"#));
        check_error(&format!("key {long}"), &format!(r#"line 1.4: expected ':', found "{start}…""#));
        check_error(&format!("key:{long}"), &format!("line 1.4: invalid string: {start}…"));
        check_error(
            &format!("key:'{long}' mount_requirement:9"),
            &format!("unrecognized mount requirement [9] for secret [{start}…]"),
        );
        let start = "x".repeat(39);
        check_error(&format!(r"'{long}\q'"), &format!(r"line 1.0: invalid quoted string '{start}…: unknown escape \q"));
    }

    proptest! {
        #[test]
        fn parses_its_own_output(
            (group, group_version, key) in any::<(String, String, String)>(),
            mount in prop::sample::select(MOUNTS.map(|(_, mount)| mount).to_vec()),
            env_var in prop::option::of("(?s).+"),
        ) {
            let request = SecretRequest { group, group_version, key, mount, env_var, ..SecretRequest::default() };
            prop_assert_eq!(parse(print(&request).as_bytes()), Ok(request));
        }

        #[test]
        fn never_panics_on_bytes(text: Vec<u8>) {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_nearly_valid_text(
            pieces in prop::collection::vec(any_piece(), 0..12),
            between in prop::sample::select(vec!["", " ", "\n"]),
        ) {
            let error = parse(pieces.join(between).as_bytes()).err().map(|error| error.to_string());
            prop_assert!(error.is_none_or(|error| error.chars().count() < 200));
        }
    }
}
