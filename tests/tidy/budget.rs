//! Budgets: how many violations of a rule each part of the repository may still have.
//!
//! A budget only shrinks. Both more and fewer violations than listed fail: the failure prints the
//! table to paste into the head of the rule's file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The allowed number of violations by area.
pub(crate) type Budget = [(&'static str, usize)];

/// One violation.
pub(crate) struct Violation {
    /// The entry of the budget that it counts towards.
    pub(crate) area: String,
    /// How many it counts for.
    pub(crate) weight: usize,
    /// Place and reason, for the failure's message.
    pub(crate) message: String,
}

/// Fails unless every area has exactly as many violations as its budget allows.
pub(crate) fn hold(rule: &str, file: &str, budget: &Budget, violations: &[Violation]) {
    if let Err(message) = compare(budget, violations) {
        panic!("{rule}\n{message}\nthe budget is in {file}");
    }
}

fn compare(budget: &Budget, violations: &[Violation]) -> Result<(), String> {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in violations {
        *found.entry(&violation.area).or_default() += violation.weight;
    }
    let allowed: BTreeMap<&str, usize> = budget.iter().copied().collect();
    assert_eq!(allowed.len(), budget.len(), "an area is listed twice in the budget");
    if found == allowed {
        return Ok(());
    }
    let mut message = String::new();
    for area in found.keys().chain(allowed.keys()).collect::<BTreeSet<_>>() {
        let (count, limit) = (found.get(area).unwrap_or(&0), allowed.get(area).unwrap_or(&0));
        if count > limit {
            _ = writeln!(message, "{area}: {count} violations, {limit} allowed");
            for violation in violations.iter().filter(|violation| violation.area == *area) {
                _ = writeln!(message, "  {}", violation.message);
            }
        } else if count < limit {
            _ = writeln!(message, "{area}: {count} violations; lower its budget of {limit}");
        }
    }
    _ = writeln!(message, "\nthe table that matches the files:");
    for (area, count) in &found {
        _ = writeln!(message, "    (\"{area}\", {count}),");
    }
    Err(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(area: &str, count: usize) -> Vec<Violation> {
        let violation = || Violation { area: area.to_owned(), weight: 1, message: format!("{area}/file.rs:1: bad") };
        (0..count).map(|_| violation()).collect()
    }

    #[test]
    fn accepts_the_exact_number_of_violations() {
        assert_eq!(compare(&[("host/core", 2)], &violations("host/core", 2)), Ok(()));
        assert_eq!(compare(&[], &[]), Ok(()));
    }

    #[test]
    fn rejects_more_violations_and_names_them() {
        let message = compare(&[("host/core", 1)], &violations("host/core", 2)).expect_err("one too many");
        assert!(message.contains("host/core: 2 violations, 1 allowed\n  host/core/file.rs:1: bad\n"), "{message}");
        assert!(compare(&[], &violations("host/core", 1)).is_err());
    }

    #[test]
    fn rejects_fewer_violations_and_prints_the_new_table() {
        let message = compare(&[("host/core", 3), ("wit", 1)], &violations("host/core", 2)).expect_err("too few");
        assert!(message.contains("wit: 0 violations; lower its budget of 1"), "{message}");
        assert!(message.ends_with("the table that matches the files:\n    (\"host/core\", 2),\n"), "{message}");
    }
}
