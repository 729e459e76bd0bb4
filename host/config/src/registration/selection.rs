//! [`NamespaceSelector::selects`]: whether a selector of the registration selects a namespace, as
//! far as its labels are known.
//!
//! Without an API server, only the label with the name of the namespace is known.

use std::collections::{BTreeMap, BTreeSet};

use super::{LabelCondition, LabelOperator, NAME_LABEL, NamespaceSelector};

/// The labels of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceLabels {
    known: BTreeMap<String, String>,
    /// Whether the namespace has no other label.
    is_complete: bool,
}

/// Whether a selector selects a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectorMatch {
    /// It does.
    Selected,
    /// It does not, because of this condition, such as `team in (ml)`.
    Excluded(String),
    /// The labels of these keys, which are not known, decide.
    Unknown(BTreeSet<String>),
}

// === impl NamespaceLabels ===

impl NamespaceLabels {
    /// The labels of a namespace with this name; `labels` are all others, if they are known.
    #[must_use]
    pub fn new(name: &str, labels: Option<&BTreeMap<String, String>>) -> Self {
        let mut known = labels.cloned().unwrap_or_default();
        known.insert(NAME_LABEL.to_owned(), name.to_owned());
        Self { known, is_complete: labels.is_some() }
    }

    /// Whether a condition holds; `None` if its label is not known.
    fn fulfil(&self, condition: &LabelCondition) -> Option<bool> {
        let value = self.known.get(&condition.key);
        if value.is_none() && !self.is_complete {
            return None;
        }
        let is_listed = value.is_some_and(|value| condition.values.contains(value));
        Some(match condition.operator {
            LabelOperator::In => is_listed,
            LabelOperator::NotIn => !is_listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        })
    }
}

// === impl NamespaceSelector ===

impl NamespaceSelector {
    /// Compares the selector with the labels of a namespace.
    #[must_use]
    pub fn selects(&self, labels: &NamespaceLabels) -> SelectorMatch {
        let mut unknown = BTreeSet::new();
        for condition in self.conditions() {
            match labels.fulfil(&condition) {
                Some(true) => {}
                Some(false) => return SelectorMatch::Excluded(condition.to_string()),
                None => {
                    unknown.insert(condition.key);
                }
            }
        }
        if unknown.is_empty() { SelectorMatch::Selected } else { SelectorMatch::Unknown(unknown) }
    }

    /// All conditions. A label with an exact value is a condition with one value.
    fn conditions(&self) -> impl Iterator<Item = LabelCondition> {
        let exact = self.match_labels.iter().map(|(key, value)| LabelCondition {
            key: key.clone(),
            operator: LabelOperator::In,
            values: vec![value.clone()],
        });
        exact.chain(self.match_expressions.iter().cloned())
    }
}

impl std::fmt::Display for LabelCondition {
    /// Writes the condition as `kubectl` reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            LabelOperator::In => write!(f, "{key} in ({values})"),
            LabelOperator::NotIn => write!(f, "{key} notin ({values})"),
            LabelOperator::Exists => write!(f, "{key}"),
            LabelOperator::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(yaml: &str) -> NamespaceSelector {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn excluded(condition: &str) -> SelectorMatch {
        SelectorMatch::Excluded(condition.to_owned())
    }

    fn unknown(keys: &[&str]) -> SelectorMatch {
        SelectorMatch::Unknown(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn a_selector_is_evaluated_as_far_as_the_labels_are_known() {
        use SelectorMatch::Selected;
        let default = "matchExpressions: \
                       [{ key: kubernetes.io/metadata.name, operator: NotIn, values: [ampoule, kube-system] }]";
        let team = "matchLabels: { team: ml }";
        let all = "matchExpressions: [{ key: a, operator: In, values: [x, y] }, { key: b, operator: Exists }, \
                   { key: c, operator: DoesNotExist }, { key: d, operator: NotIn, values: [z] }]";
        let in_default = "kubernetes.io/metadata.name notin (ampoule,kube-system)";
        for (yaml, name, labels, expected) in [
            ("{}", "shop", None, Selected),
            (default, "shop", None, Selected),
            (default, "kube-system", None, excluded(in_default)),
            (default, "ampoule", Some("{}"), excluded(in_default)),
            (team, "shop", None, unknown(&["team"])),
            (team, "shop", Some("{ team: ml }"), Selected),
            (team, "shop", Some("{ team: web }"), excluded("team in (ml)")),
            (team, "shop", Some("{}"), excluded("team in (ml)")),
            (all, "shop", None, unknown(&["a", "b", "c", "d"])),
            (all, "shop", Some("{ a: y, b: '' }"), Selected),
            (all, "shop", Some("{ a: z, b: '' }"), excluded("a in (x,y)")),
            (all, "shop", Some("{ a: x }"), excluded("b")),
            (all, "shop", Some("{ a: x, b: '', c: '' }"), excluded("!c")),
            (all, "shop", Some("{ a: x, b: '', d: z }"), excluded("d notin (z)")),
        ] {
            let labels = labels.map(|yaml| serde_saphyr::from_str(yaml).unwrap());
            let labels = NamespaceLabels::new(name, labels.as_ref());
            assert_eq!(selector(yaml).selects(&labels), expected, "{yaml} {labels:?}");
        }
    }

    #[test]
    fn a_known_label_decides_before_an_unknown_one() {
        let both = "{ matchLabels: { team: ml }, matchExpressions: \
                    [{ key: kubernetes.io/metadata.name, operator: In, values: [a] }] }";
        let labels = NamespaceLabels::new("b", None);
        assert_eq!(selector(both).selects(&labels), excluded("kubernetes.io/metadata.name in (a)"));
    }
}
