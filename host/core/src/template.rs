//! [`FileTemplate`]: a file that is made of several secrets.
//!
//! `{{ secret "group" "key" }}` is replaced by the value of a secret, and `{{ "{{" }}` by `{{`. The
//! file is rendered where the values are: in the webhook for values that it delivers in a Secret,
//! otherwise in the pod.

/// The most secrets of a template.
const MAX_SECRETS: usize = 32;
/// Bytes of the file. A Kubernetes Secret has at most 1 MiB.
const MAX_OUTPUT: usize = 1 << 20;

/// A file that is made of several secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileTemplate {
    /// The absolute path.
    pub path: String,
    /// The permission bits; `None` means that every user may read the file.
    pub mode: Option<u32>,
    /// The variable with the path.
    pub variable: Option<String>,
    /// The content.
    pub content: TemplateContent,
}

/// The content of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TemplateContent {
    /// The parts in their order.
    pub parts: Vec<TemplatePart>,
    /// The group and the key of each secret, once.
    pub secrets: Vec<[String; 2]>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TemplatePart {
    /// Text.
    Text(String),
    /// The value of the secret at this position of [`TemplateContent::secrets`].
    Secret(usize),
}

/// The rendered file would be too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file of the template would be larger than {} KiB", MAX_OUTPUT / 1024)]
pub struct TemplateTooLarge;

// === impl TemplateContent ===

impl TemplateContent {
    /// Parses the text of a template.
    ///
    /// # Errors
    ///
    /// The error names the position, in characters.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut content = Self::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            content.push_text(before);
            let position = text[..text.len() - after.len()].chars().count() - 1;
            let at = |reason: &str| format!("character {position}: {reason}");
            let (action, end) = Action::parse(after).ok_or_else(|| {
                at("must be {{ secret \"group\" \"key\" }}; write {{ \"{{\" }} for the characters {{")
            })?;
            match action {
                Action::Text(literal) => content.push_text(&literal),
                Action::Secret(secret) => content.push_secret(secret).map_err(|reason| at(&reason))?,
            }
            rest = end;
        }
        content.push_text(rest);
        if content.secrets.is_empty() {
            return Err("has no {{ secret \"group\" \"key\" }}; use a ConfigMap for a file without secrets".to_owned());
        }
        Ok(content)
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(TemplatePart::Text(last)) => last.push_str(text),
            _ => self.parts.push(TemplatePart::Text(text.to_owned())),
        }
    }

    fn push_secret(&mut self, secret: [String; 2]) -> Result<(), String> {
        let position = match self.secrets.iter().position(|known| *known == secret) {
            Some(known) => known,
            None if self.secrets.len() == MAX_SECRETS => {
                return Err(format!("a template may have {MAX_SECRETS} different secrets"));
            }
            None => {
                self.secrets.push(secret);
                self.secrets.len() - 1
            }
        };
        self.parts.push(TemplatePart::Secret(position));
        Ok(())
    }

    /// Returns the file with these values, in the order of the secrets.
    ///
    /// # Errors
    ///
    /// The file would be too large.
    pub fn render(&self, values: &[&[u8]]) -> Result<Vec<u8>, TemplateTooLarge> {
        let bytes = |part: &TemplatePart| match part {
            TemplatePart::Text(text) => text.len(),
            TemplatePart::Secret(position) => values[*position].len(),
        };
        let length: usize = self.parts.iter().map(bytes).sum();
        if length > MAX_OUTPUT {
            return Err(TemplateTooLarge);
        }
        // The buffer must not grow, because a copy of it would not be wiped.
        let mut rendered = Vec::with_capacity(length);
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => rendered.extend_from_slice(text.as_bytes()),
                TemplatePart::Secret(position) => rendered.extend_from_slice(values[*position]),
            }
        }
        Ok(rendered)
    }
}

/// The content of `{{ }}`.
enum Action {
    Text(String),
    Secret([String; 2]),
}

// === impl Action ===

impl Action {
    /// Parses an action up to its `}}`, and returns the rest of the text.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let text = text.trim_start();
        let (action, rest) = match text.strip_prefix("secret") {
            None => {
                let (literal, rest) = quoted(text)?;
                (Self::Text(literal), rest)
            }
            Some(arguments) => {
                let (group, rest) = quoted(after_space(arguments)?)?;
                let (key, rest) = quoted(after_space(rest)?)?;
                if key.is_empty() {
                    return None;
                }
                (Self::Secret([group, key]), rest)
            }
        };
        Some((action, rest.trim_start().strip_prefix("}}")?))
    }
}

fn after_space(text: &str) -> Option<&str> {
    text.starts_with(char::is_whitespace).then(|| text.trim_start())
}

/// Reads a text in double quotes, in which `\` precedes `"` and `\`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut unquoted = String::new();
    let mut characters = text.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some((unquoted, characters.as_str())),
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => unquoted.push(escaped),
                _ => return None,
            },
            other => unquoted.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_rendered_with_the_values_of_its_secrets() {
        for (template, expected) in [
            ("{{ secret \"db\" \"password\" }}", "<db/password>"),
            ("a {{secret \"db\"   \"p\"}}b{{ secret \"db\" \"p\" }}\n", "a <db/p>b<db/p>\n"),
            ("{{ secret \"\" \"k\" }}{{ secret \"g\" \"k\" }}", "</k><g/k>"),
            ("{{ \"{{\" }} {{ secret \"g\" \"a\\\"b\\\\\" }} }}", "{{ <g/a\"b\\> }}"),
            ("{ } ä {{ secret \"g\" \"}}\" }}", "{ } ä <g/}}>"),
        ] {
            let content = TemplateContent::parse(template).unwrap();
            let values: Vec<_> = content.secrets.iter().map(|[group, key]| format!("<{group}/{key}>")).collect();
            let values: Vec<_> = values.iter().map(String::as_bytes).collect();
            assert_eq!(String::from_utf8(content.render(&values).unwrap()).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn an_invalid_template_is_refused_with_the_position() {
        let action = "must be {{ secret \"group\" \"key\" }}; write {{ \"{{\" }} for the characters {{";
        for (template, position) in [
            ("ä{{ secret \"db\" }}", 2),
            ("{{ secret \"db\" \"\" }}", 1),
            ("{{ secret \"db\"\"k\" }}", 1),
            ("{{ secret db k }}", 1),
            ("{{ secrets \"db\" \"k\" }}", 1),
            ("{{ secret \"db\" \"k\" \"v\" }}", 1),
            ("{{ secret \"db\" \"k\" | quote }}", 1),
            ("{{ secret \"db\" \"k }}", 1),
            ("{{ secret \"d\\b\" \"k\" }}", 1),
            ("x {{", 3),
            ("{{}}", 1),
        ] {
            let expected = format!("character {position}: {action}");
            assert_eq!(TemplateContent::parse(template).unwrap_err(), expected, "{template}");
        }
        let without = "has no {{ secret \"group\" \"key\" }}; use a ConfigMap for a file without secrets";
        assert_eq!(TemplateContent::parse("").unwrap_err(), without);
        assert_eq!(TemplateContent::parse("text {{ \"{{\" }}").unwrap_err(), without);
        let many: String = (0..33).map(|i| format!("{{{{ secret \"g\" \"{i}\" }}}}")).collect();
        let error = TemplateContent::parse(&many).unwrap_err();
        assert!(error.ends_with(": a template may have 32 different secrets"), "{error}");
    }

    #[test]
    fn a_short_template_cannot_make_a_large_file() {
        let content = TemplateContent::parse(&"{{ secret \"g\" \"k\" }}".repeat(1024)).unwrap();
        assert_eq!(content.render(&[&[b'x'; 1024]]).map(|file| file.len()), Ok(1 << 20));
        assert_eq!(content.render(&[&[b'x'; 1025]]), Err(TemplateTooLarge));
    }
}
