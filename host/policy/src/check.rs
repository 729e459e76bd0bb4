//! The type checker: [`Checker`] walks the tree of an expression.
//!
//! The interpreter has no checker. This one knows the types of all inputs, so that a rule that
//! passes can fail only for a missing key, a list index or an overflow. It also adds up the cost.

use std::collections::BTreeSet;

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr};

use crate::{
    cost::copying,
    functions::{self, CallFault, FUNCTIONS},
    inputs::{Inputs, VARIABLES},
    shape::Shape,
};

/// Maximum nesting of an expression, which bounds the stack of an evaluation.
const DEPTH: usize = 64;

/// Names of types, which the interpreter resolves before variables.
const RESERVED: [&str; 15] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "optional",
    "optional_type",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// The fault of one node.
pub(crate) struct Fault {
    /// The node in the source.
    pub(crate) id: u64,
    pub(crate) reason: String,
}

/// The result of a walk.
pub(crate) struct Checked {
    pub(crate) shape: Shape,
    /// Upper bound of the steps.
    pub(crate) cost: u64,
}

/// One walk through an expression.
pub(crate) struct Checker<'a> {
    inputs: &'a Inputs,
    /// Variables of the loops around the current node.
    scope: Vec<(&'a str, Shape)>,
    depth: usize,
    /// The paths of the inputs that the expression reads.
    pub(crate) reads: BTreeSet<&'static str>,
    /// The nodes and texts of regular expressions.
    pub(crate) patterns: Vec<(u64, &'a str)>,
}

type Walked = Result<Checked, Fault>;

// === impl Checker ===

impl<'a> Checker<'a> {
    pub(crate) fn new(inputs: &'a Inputs) -> Self {
        Self { inputs, scope: Vec::new(), depth: 0, reads: BTreeSet::new(), patterns: Vec::new() }
    }

    /// Checks a node and everything below it.
    pub(crate) fn visit(&mut self, node: &'a IdedExpr) -> Walked {
        self.depth += 1;
        if self.depth > DEPTH {
            return fault(node, format!("the expression is nested more than {DEPTH} levels deep; simplify it"));
        }
        let checked = match &node.expr {
            Expr::Literal(literal) => literal_shape(node, literal),
            Expr::Ident(name) => self.identifier(node, name),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => {
                let arguments = call.target.as_deref().into_iter().chain(&call.args);
                self.call(node, &call.func_name, call.target.is_some(), arguments)
            }
            Expr::List(list) => self.list(node, list),
            Expr::Map(map) => self.map(node, map),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension),
            Expr::Struct(_) | Expr::Unspecified => fault(node, "messages are not available in rules"),
        };
        self.depth -= 1;
        checked
    }

    fn identifier(&mut self, node: &IdedExpr, name: &str) -> Walked {
        if let Some((_, shape)) = self.scope.iter().rev().find(|(known, _)| *known == name) {
            return Ok(Checked { shape: shape.clone(), cost: 1 });
        }
        match VARIABLES.iter().find(|variable| **variable == name) {
            Some(variable) => Ok(Checked { shape: Shape::Object(variable), cost: 1 }),
            None => fault(node, format!("unknown variable {name}; use {}", VARIABLES.join(", "))),
        }
    }

    fn select(&mut self, node: &'a IdedExpr, select: &'a SelectExpr) -> Walked {
        let operand = self.visit(&select.operand)?;
        let field = select.field.as_str();
        let shape = match operand.shape {
            Shape::Object(variable) => {
                let Some(input) = self.inputs.field(variable, field) else {
                    let known = self.inputs.names(variable).join(", ");
                    return fault(node, format!("unknown field {variable}.{field}; use {known}"));
                };
                self.reads.insert(input.path);
                input.shape.clone()
            }
            Shape::Map { value, .. } => *value,
            other => return fault(node, format!("{other} has no field {field}")),
        };
        let shape = if select.test { Shape::Bool } else { shape };
        Ok(Checked { shape, cost: operand.cost.saturating_add(1) })
    }

    fn call(
        &mut self,
        node: &'a IdedExpr,
        name: &str,
        is_member: bool,
        arguments: impl Iterator<Item = &'a IdedExpr>,
    ) -> Walked {
        let (mut shapes, mut nodes, mut cost) = (Vec::new(), Vec::new(), 0_u64);
        for argument in arguments {
            let checked = self.visit(argument)?;
            cost = cost.saturating_add(checked.cost);
            shapes.push(checked.shape);
            nodes.push(argument);
        }
        if name == "matches" && is_member && nodes.len() == 2 {
            let Expr::Literal(LiteralValue::String(pattern)) = &nodes[1].expr else {
                return fault(node, "the argument of matches must be a string literal");
            };
            self.patterns.push((nodes[1].id, pattern.inner()));
        }
        if let Some(Shape::Object(variable)) = shapes.iter().find(|shape| matches!(shape, Shape::Object(_))) {
            return fault(node, format!("{variable} cannot be a value; use one of its fields"));
        }
        match functions::call(name, is_member, &shapes) {
            Ok(result) => {
                // The interpreter appends to the result of a loop in place.
                let own = if self.is_append(name, &nodes) { 1 } else { result.cost };
                Ok(Checked { shape: result.shape, cost: cost.saturating_add(own) })
            }
            Err(CallFault::Unknown) => {
                let shown = functions::shown(name);
                fault(node, format!("{shown} is not available in rules; use {FUNCTIONS}"))
            }
            Err(CallFault::Types) => {
                let types: Vec<_> = shapes.iter().map(ToString::to_string).collect();
                fault(node, format!("{} does not accept ({})", functions::shown(name), types.join(", ")))
            }
        }
    }

    fn is_append(&self, name: &str, nodes: &[&IdedExpr]) -> bool {
        name == "_+_"
            && matches!(nodes.first().map(|node| &node.expr), Some(Expr::Ident(name)) if name.starts_with('@'))
    }

    fn list(&mut self, node: &'a IdedExpr, list: &'a ListExpr) -> Walked {
        if !list.optional_indices.is_empty() {
            return fault(node, "optional elements are not available in rules");
        }
        let (mut element, mut cost) = (Shape::Unknown, 1_u64);
        for entry in &list.elements {
            let checked = self.visit(entry)?;
            cost = cost.saturating_add(checked.cost).saturating_add(copying(checked.shape.bytes()));
            element = match element.union(&checked.shape) {
                Some(element) => element,
                None => return fault(entry, format!("a list cannot contain {element} and {}", checked.shape)),
            };
        }
        let length = u64::try_from(list.elements.len()).unwrap_or(u64::MAX);
        Ok(Checked { shape: Shape::list(element, length), cost })
    }

    fn map(&mut self, node: &'a IdedExpr, map: &'a MapExpr) -> Walked {
        let (mut key, mut value, mut cost) = (0, Shape::Unknown, 1_u64);
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return fault(node, "messages are not available in rules");
            };
            if entry.optional {
                return fault(node, "optional entries are not available in rules");
            }
            let checked_key = self.visit(&entry.key)?;
            let Shape::Text(bytes) = checked_key.shape else {
                return fault(&entry.key, format!("a key of a map must be string, not {}", checked_key.shape));
            };
            let checked = self.visit(&entry.value)?;
            key = key.max(bytes);
            cost = cost.saturating_add(checked_key.cost).saturating_add(checked.cost);
            cost = cost.saturating_add(copying(bytes.saturating_add(checked.shape.bytes())));
            value = match value.union(&checked.shape) {
                Some(value) => value,
                None => return fault(&entry.value, format!("a map cannot contain {value} and {}", checked.shape)),
            };
        }
        let entries = u64::try_from(map.entries.len()).unwrap_or(u64::MAX);
        Ok(Checked { shape: Shape::map(key, value, entries), cost })
    }

    /// Checks a loop, which each of the macros becomes.
    fn comprehension(&mut self, node: &'a IdedExpr, comprehension: &'a ComprehensionExpr) -> Walked {
        let name = comprehension.iter_var.as_str();
        if comprehension.iter_var2.is_some() {
            return fault(node, "loops with two variables are not available in rules");
        }
        if VARIABLES.contains(&name) || RESERVED.contains(&name) {
            return fault(node, format!("{name} is reserved; use another name for the variable of the loop"));
        }
        let range = self.visit(&comprehension.iter_range)?;
        let initial = self.visit(&comprehension.accu_init)?;
        let (element, length) = match range.shape {
            Shape::List(element, length) => (*element, length),
            // The order of keys is random, and the result must not depend on it.
            Shape::Map { .. } if matches!(initial.shape, Shape::List(..)) => {
                return fault(node, "map and filter need a list; use all, exists or exists_one for a map");
            }
            Shape::Map { key, entries, .. } => (Shape::Text(key), entries),
            other => return fault(node, format!("{other} has no elements; a loop needs a list or a map")),
        };
        let copied = copying(element.bytes());
        self.scope.push((name, element));
        self.scope.push((comprehension.accu_var.as_str(), initial.shape.clone()));
        let condition = self.visit(&comprehension.loop_cond);
        let step = self.visit(&comprehension.loop_step);
        let (condition, step) = (condition?, step?);
        let Some(joined) = initial.shape.union(&step.shape) else {
            return fault(node, format!("the condition of the loop must be bool, not {}", step.shape));
        };
        let result_shape = match joined {
            Shape::List(element, _) => Shape::List(element, length),
            other => other,
        };
        if let Some((_, shape)) = self.scope.last_mut() {
            *shape = result_shape;
        }
        let result = self.visit(&comprehension.result)?;
        self.scope.truncate(self.scope.len() - 2);
        let once = condition.cost.saturating_add(step.cost).saturating_add(copied).saturating_add(2);
        let cost = once
            .saturating_mul(length)
            .saturating_add(range.cost)
            .saturating_add(initial.cost)
            .saturating_add(result.cost)
            .saturating_add(2);
        Ok(Checked { shape: result.shape, cost })
    }
}

fn literal_shape(node: &IdedExpr, literal: &LiteralValue) -> Walked {
    let shape = match literal {
        LiteralValue::Boolean(_) => Shape::Bool,
        LiteralValue::Int(_) => Shape::Int,
        LiteralValue::String(text) => Shape::Text(u64::try_from(text.inner().len()).unwrap_or(u64::MAX)),
        LiteralValue::Null | LiteralValue::Bytes(_) | LiteralValue::Double(_) | LiteralValue::UInt(_) => {
            return fault(node, "a literal must be bool, int or string");
        }
    };
    Ok(Checked { shape, cost: 1 })
}

fn fault<T>(node: &IdedExpr, reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { id: node.id, reason: reason.into() })
}
