//! An arbitrary expression as a policy rule, evaluated for an arbitrary pod and request.
//!
//! A rule that is accepted has a bounded cost, and its evaluation ends with a result or with an
//! error without a value. Messages are short and printable.

#![no_main]

use ampoule_core::{
    InjectorFacts, MountRequirement, PodView, PolicyAction, PolicyFinding, PolicyRule, RequestPolicy as _, RequestUser,
    RequestedSecret, Requester, SecretRequest,
};
use ampoule_policy::{CompiledPolicy, MAX_EXPRESSION, RULE_BUDGET};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

/// Limit for the length of an error message.
const LONGEST: usize = 1024;

/// A rule, and the texts of a pod.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    when: &'a str,
    group: &'a str,
    key: &'a str,
    namespace: &'a str,
    user: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
    groups: Vec<&'a str>,
    is_file: bool,
}

impl Input<'_> {
    fn rule(&self) -> PolicyRule {
        PolicyRule {
            name: "rule".to_owned(),
            when: self.when.to_owned(),
            action: PolicyAction::Deny,
            message: "no".to_owned(),
            shadow: false,
        }
    }

    fn pod(&self) -> PodView {
        let pairs: Vec<_> = self.pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let namespace = self.namespace.to_owned();
        PodView { namespace, labels: pairs.clone(), annotations: pairs, ..PodView::default() }
    }

    fn request(&self) -> RequestedSecret {
        let mount = if self.is_file { MountRequirement::File } else { MountRequirement::EnvVar };
        let (group, key) = (self.group.to_owned(), self.key.to_owned());
        let request = SecretRequest { group, key, mount, ..SecretRequest::default() };
        RequestedSecret::new("flyte.secrets/s0", request)
    }

    fn requester(&self) -> Requester {
        let groups = self.groups.iter().map(|group| (*group).to_owned()).collect();
        Requester::User(RequestUser { username: self.user.to_owned(), groups, ..RequestUser::default() })
    }

    fn findings(&self, policy: &CompiledPolicy) -> Vec<PolicyFinding> {
        let (pod, requester, mut findings) = (self.pod(), self.requester(), Vec::new());
        let mut session = policy.open(&pod, &requester);
        session.judge(&self.request(), None, &mut findings);
        session.judge(&self.request(), Some(&InjectorFacts::unknown()), &mut findings);
        findings
    }
}

fuzz_target!(|input: Input<'_>| {
    match CompiledPolicy::compile(&[input.rule()]) {
        Ok(policy) => {
            assert!(input.when.len() <= MAX_EXPRESSION);
            assert!(policy.costs().iter().all(|cost| *cost <= RULE_BUDGET));
            let findings = input.findings(&policy);
            // A rule reads the injector or it does not, so that it is evaluated once.
            assert!(findings.len() <= 1, "{findings:?}");
            findings.iter().filter_map(|finding| finding.error.as_deref()).for_each(check_message);
            assert_eq!(findings, input.findings(&policy), "a second review gives the same result");
        }
        Err(error) => check_message(&error.to_string()),
    }
});

fn check_message(message: &str) {
    assert!(message.len() <= LONGEST && !message.contains(char::is_control), "{message:?}");
}
