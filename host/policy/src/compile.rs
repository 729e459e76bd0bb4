//! Compiles one rule: [`CompiledRule`].
//!
//! The parser runs on its own thread with a large stack: its recursion follows the expression.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    thread,
};

use ampoule_core::{PolicyAction, PolicyRule};
use cel::{Env, Program, common::ast::SourceInfo};

use crate::{
    MAX_EXPRESSION,
    check::{Checker, Fault},
    cost::RULE_BUDGET,
    error::{RuleFault, RulePosition},
    inputs::Inputs,
    patterns::Patterns,
    shape::Shape,
};

/// Stack of the parser's thread in bytes. An expression of the maximum length needs less than a
/// tenth.
const STACK: usize = 64 << 20;

/// A rule that is compiled and checked.
pub(crate) struct CompiledRule {
    pub(crate) name: Arc<str>,
    pub(crate) action: PolicyAction,
    pub(crate) message: Arc<str>,
    pub(crate) shadow: bool,
    pub(crate) program: Program,
    pub(crate) patterns: Patterns,
    /// The paths of the inputs that the expression reads.
    pub(crate) reads: BTreeSet<&'static str>,
    /// The cost over the largest accepted inputs.
    pub(crate) largest_cost: u64,
}

/// The functions of all rules.
pub(crate) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));
    Arc::clone(&ENVIRONMENT)
}

// === impl CompiledRule ===

impl CompiledRule {
    /// Parses and checks a rule.
    pub(crate) fn compile(rule: &PolicyRule) -> Result<Self, RuleFault> {
        if rule.when.trim().is_empty() {
            return Err(RuleFault::whole("must be an expression that returns bool"));
        }
        if rule.when.len() > MAX_EXPRESSION {
            let length = rule.when.len();
            return Err(RuleFault::whole(format!("has {length} bytes; the limit is {MAX_EXPRESSION}")));
        }
        let program = parse(&rule.when)?;
        let inputs = Inputs::largest();
        let mut checker = Checker::new(&inputs);
        let source = program.source_info();
        let checked = checker.visit(program.expression()).map_err(|fault| locate(&fault, source))?;
        if checked.shape != Shape::Bool {
            return Err(RuleFault::whole(format!("must return bool, not {}", checked.shape)));
        }
        if checked.cost > RULE_BUDGET {
            let reason = format!(
                "can take {} steps for the largest accepted pod; the limit is {RULE_BUDGET}; use fewer nested loops",
                checked.cost
            );
            return Err(RuleFault::whole(reason));
        }
        let patterns = compile_patterns(&checker.patterns, source)?;
        let (reads, largest_cost) = (checker.reads, checked.cost);
        Ok(Self {
            name: rule.name.as_str().into(),
            action: rule.action,
            message: rule.message.as_str().into(),
            shadow: rule.shadow,
            program,
            patterns,
            reads,
            largest_cost,
        })
    }

    /// Whether the rule reads a variable.
    pub(crate) fn reads_variable(&self, variable: &str) -> bool {
        self.reads.iter().any(|path| path.split_once('.').is_some_and(|(owner, _)| owner == variable))
    }
}

fn compile_patterns(patterns: &[(u64, &str)], source: &SourceInfo) -> Result<Patterns, RuleFault> {
    for (id, pattern) in patterns {
        Patterns::compile(&[pattern]).map_err(|reason| locate(&Fault { id: *id, reason }, source))?;
    }
    let texts: Vec<_> = patterns.iter().map(|(_, pattern)| *pattern).collect();
    Patterns::compile(&texts).map_err(RuleFault::whole)
}

/// Parses an expression.
pub(crate) fn parse(source: &str) -> Result<Program, RuleFault> {
    let unreadable = || RuleFault::whole("is not readable by the parser; simplify it");
    let source = source.to_owned();
    let parser = thread::Builder::new().stack_size(STACK).spawn(move || parse_here(&source));
    parser.map_err(|_| unreadable())?.join().unwrap_or_else(|_| Err(unreadable()))
}

fn parse_here(source: &str) -> Result<Program, RuleFault> {
    environment().compile(source).map_err(|errors| {
        let Some(error) = errors.errors.first() else { return RuleFault::whole("is not valid CEL") };
        let position = |number: isize| usize::try_from(number).unwrap_or_default();
        if error.msg.contains("Recursion limit") {
            return RuleFault::whole("is nested too deeply for the parser; simplify it");
        }
        let reason = format!("is not valid CEL: {}", ampoule_core::text::one_line(&error.msg, 200));
        let (line, column) = (position(error.pos.0), position(error.pos.1));
        RuleFault { position: (line > 0).then_some(RulePosition { line, column: column.max(1) }), reason }
    })
}

/// The fault with the position of its node.
fn locate(fault: &Fault, source: &SourceInfo) -> RuleFault {
    let start = source.offset_for(fault.id).and_then(|(start, _)| usize::try_from(start).ok());
    RuleFault { position: start.map(|start| position(&source.source, start)), reason: fault.reason.clone() }
}

/// The position of a character, counted from zero.
fn position(source: &str, start: usize) -> RulePosition {
    let before: String = source.chars().take(start).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    RulePosition { line, column }
}
