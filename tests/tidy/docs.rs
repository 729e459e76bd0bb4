//! Documentation that readers copy from: configurations load, and commands exist and are
//! documented.
//!
//! A command counts as documented if a code span or a code block calls it.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

use super::repository::{files, read};

/// The documents for users. A book, where there is one, is read together with them.
const PAGES: [&str; 4] = ["README.md", "docs/src/*.md", "deploy/*.md", "plugins/README.md"];
/// The documents for contributors.
const CONTRIBUTING: &str = "CONTRIBUTING.md";

/// Faults that are not corrected yet; remove each with its correction.
const UNDOCUMENTED: &[&str] = &[];

#[test]
fn every_yaml_configuration_in_the_documents_loads() {
    let built_ins: Vec<_> = ampoule_plugin_bundle::COMPONENTS.iter().map(|(name, _)| *name).collect();
    let mut count = 0;
    for page in files(&PAGES) {
        for code in Code::of(&page.text).into_iter().filter(Code::is_configuration) {
            if let Err(error) = ampoule_config::Config::parse(&code.text, &built_ins) {
                panic!("a configuration in {} does not load: {error}\n{}", page.path, code.text);
            }
            count += 1;
        }
    }
    assert!(count > 0, "no document shows a configuration");
}

#[test]
fn every_command_is_documented_and_every_documented_command_exists() {
    let mut program = Commands::default();
    program.add(&ampoule_cli::Args::command(), "");
    let mut xtask = Commands::default();
    xtask.add_variants(&read("xtask/src/args.rs"));
    let code: Vec<_> =
        files(&[&PAGES[..], &[CONTRIBUTING]].concat()).iter().flat_map(|page| Code::of(&page.text)).collect();
    let mut faults = program.faults("ampoule", &code);
    faults.extend(xtask.faults("cargo xtask", &code));
    assert_eq!(faults, UNDOCUMENTED, "document these commands, or correct these calls");
}

/// The commands of a program, each with its parents before it.
#[derive(Default)]
struct Commands {
    /// Those to document: not hidden, and without commands of their own.
    documented: BTreeSet<String>,
    /// Those that a call may name.
    known: BTreeSet<String>,
}

// === impl Commands ===

impl Commands {
    fn add(&mut self, command: &clap::Command, prefix: &str) {
        for command in command.get_subcommands() {
            let name = format!("{prefix}{}", command.get_name());
            self.known.extend(command.get_all_aliases().map(|alias| format!("{prefix}{alias}")));
            self.known.insert(name.clone());
            if !command.is_hide_set() && !command.has_subcommands() {
                self.documented.insert(name.clone());
            }
            self.add(command, &format!("{name} "));
        }
    }

    /// Adds the variants of `enum Command` in that source.
    fn add_variants(&mut self, source: &str) {
        for item in syn::parse_file(source).expect("the source is Rust").items {
            if let syn::Item::Enum(item) = item
                && item.ident == "Command"
            {
                self.documented.extend(item.variants.iter().map(|variant| kebab(&variant.ident.to_string())));
            }
        }
        assert!(!self.documented.is_empty(), "the source has no `enum Command`");
        self.known.extend(self.documented.iter().cloned());
    }

    /// Commands that no code calls, and calls of commands that do not exist.
    fn faults(&self, program: &str, code: &[Code]) -> Vec<String> {
        let called: BTreeSet<_> = code.iter().flat_map(|code| calls(program, &code.text)).collect();
        let names = |call: &str, command: &str| call == command || call.starts_with(&format!("{command} "));
        let missing = self.documented.iter().filter(|command| !called.iter().any(|call| names(call, command)));
        let unknown = called.iter().filter(|call| !self.known.iter().any(|command| names(call, command)));
        let missing = missing.map(|command| format!("no document shows `{program} {command}`"));
        missing.chain(unknown.map(|call| format!("there is no command `{program} {call}`"))).collect()
    }
}

/// The words after the program's name in each line that calls it.
fn calls(program: &str, code: &str) -> Vec<String> {
    let is_word = |word: &&str| word.chars().all(|character| character.is_ascii_lowercase() || character == '-');
    let lines = code.lines().map(|line| line.trim().trim_start_matches("$ "));
    let calls = lines.filter_map(|line| line.strip_prefix(program)?.strip_prefix(' '));
    let words = calls.map(|call| call.split(' ').take_while(is_word).take(2).collect::<Vec<_>>().join(" "));
    // An option is no command.
    words.map(|call| call.split(" -").next().unwrap_or_default().to_owned()).filter(|call| is_command(call)).collect()
}

fn is_command(call: &str) -> bool {
    !call.is_empty() && !call.starts_with('-')
}

/// `PluginNew` as `plugin-new`.
fn kebab(variant: &str) -> String {
    let mut name = String::new();
    for character in variant.chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

/// A code span or block.
struct Code {
    language: String,
    text: String,
}

// === impl Code ===

impl Code {
    fn of(markdown: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut block: Option<Self> = None;
        for event in Parser::new_ext(markdown, pulldown_cmark::Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    block = Some(Self { language: language.into_string(), text: String::new() });
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => found.extend(block.take()),
                Event::Code(text) => found.push(Self { language: String::new(), text: text.into_string() }),
                _ => {}
            }
        }
        found
    }

    /// Whether this is a whole configuration, and not a part of one.
    fn is_configuration(&self) -> bool {
        self.language == "yaml" && self.text.lines().any(|line| line.starts_with("injectors:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(markdown: &str) -> Vec<String> {
        let plugin = clap::Command::new("plugin").subcommand(clap::Command::new("new"));
        let hidden = clap::Command::new("compile").hide(true);
        let serve = clap::Command::new("serve").alias("run");
        let mut commands = Commands::default();
        commands.add(&clap::Command::new("ampoule").subcommands([plugin, hidden, serve]), "");
        commands.faults("ampoule", &Code::of(markdown))
    }

    #[test]
    fn a_call_in_a_code_span_or_block_documents_a_command() {
        assert_eq!(
            faults("`ampoule serve --config x`\n\n```sh\n$ ampoule plugin new my-plugin\n```\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_word_outside_code_does_not() {
        let found = faults("The commands serve and plugin new: ampoule serve. `serve` `ampoule plugin`");
        assert_eq!(found, ["no document shows `ampoule plugin new`", "no document shows `ampoule serve`"]);
    }

    #[test]
    fn a_call_of_an_unknown_command_is_found() {
        let found = faults("`ampoule run` `ampoule serve` `ampoule plugin new` `ampoule stop now` `ampoule --version`");
        assert_eq!(found, ["there is no command `ampoule stop now`"]);
    }

    #[test]
    fn reads_the_commands_from_their_enum() {
        let mut commands = Commands::default();
        commands.add_variants("enum Other { X } enum Command { SetUp { y: u8 }, Test }");
        assert_eq!(commands.documented.into_iter().collect::<Vec<_>>(), ["set-up", "test"]);
    }
}
