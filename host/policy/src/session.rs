//! The evaluation of rules for one pod: [`RuleSession`].
//!
//! Before a rule is evaluated, its cost over the actual inputs is taken from the pod's budget.

use std::sync::{Arc, LazyLock};

use ampoule_core::{
    InjectorFacts, PodView, PolicyFinding, PolicySession, RequestUser, RequestedSecret, Requester, SecretRequest,
};
use cel::{
    Context, Value,
    common::value::{CowVal, Val},
    context::VariableResolver,
};

use crate::{
    check::Checker,
    compile::{CompiledRule, environment},
    cost::ADMISSION_BUDGET,
    error::EvaluationError,
    inputs::{Input, Inputs},
    values,
};

/// The user of a requester whose `userInfo` is not valid.
static NO_USER: RequestUser =
    RequestUser { username: String::new(), uid: String::new(), groups: Vec::new(), extra: Vec::new() };

/// The bounds of all inputs.
static LARGEST: LazyLock<Inputs> = LazyLock::new(Inputs::largest);

/// The evaluation of all rules for one pod.
pub(crate) struct RuleSession<'a> {
    rules: &'a [Arc<CompiledRule>],
    pod: Box<dyn Val + 'a>,
    user: Box<dyn Val + 'a>,
    is_user_readable: bool,
    sizes: Vec<Input>,
    /// The steps that are left.
    budget: u64,
}

/// The variables of one evaluation.
struct Variables<'a> {
    request: Box<dyn Val + 'a>,
    pod: &'a (dyn Val + 'a),
    user: &'a (dyn Val + 'a),
    injector: Box<dyn Val + 'a>,
}

// === impl RuleSession ===

impl<'a> RuleSession<'a> {
    pub(crate) fn new(rules: &'a [Arc<CompiledRule>], pod: &'a PodView, requester: &'a Requester) -> Self {
        let (user, is_user_readable) = match requester {
            Requester::User(user) => (user, true),
            Requester::Unreadable => (&NO_USER, false),
        };
        let sizes = Inputs::of_pod(pod, user);
        let is_too_large = |path: &str| sizes.iter().any(|input| input.path == path && !is_accepted(input));
        let (pod, user) = (values::pod(pod, &is_too_large), values::user(user, &is_too_large));
        Self { rules, pod, user, is_user_readable, sizes, budget: ADMISSION_BUDGET }
    }
}

impl PolicySession for RuleSession<'_> {
    fn judge(
        &mut self,
        request: &RequestedSecret,
        injector: Option<&InjectorFacts>,
        findings: &mut Vec<PolicyFinding>,
    ) {
        let rules = self.rules.iter().filter(|rule| rule.reads_variable("injector") == injector.is_some());
        let mut rules = rules.peekable();
        if rules.peek().is_none() {
            return;
        }
        let inputs = Inputs::complete(&self.sizes, request, injector);
        let no_injector = InjectorFacts::default();
        let variables = Variables {
            request: values::request(request),
            pod: &*self.pod,
            user: &*self.user,
            injector: values::injector(injector.unwrap_or(&no_injector)),
        };
        for rule in rules {
            let result = match self.is_user_readable || !rule.reads_variable("user") {
                true => evaluate(rule, &inputs, &variables, &mut self.budget),
                false => Err(EvaluationError::UnreadableUser),
            };
            let error = match result {
                Ok(false) => continue,
                Ok(true) => None,
                Err(error) => Some(error.to_string()),
            };
            findings.push(PolicyFinding {
                rule: Arc::clone(&rule.name),
                action: rule.action,
                shadow: rule.shadow,
                message: Arc::clone(&rule.message),
                injector: injector.map(|injector| injector.name.clone()),
                error,
            });
        }
    }
}

// === impl Variables ===

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            "request" => Some(CowVal::Borrowed(&*self.request)),
            "pod" => Some(CowVal::Borrowed(self.pod)),
            "user" => Some(CowVal::Borrowed(self.user)),
            "injector" => Some(CowVal::Borrowed(&*self.injector)),
            _ => None,
        }
    }
}

/// Evaluates a rule on sample inputs, and returns an error that no input can avoid.
///
/// The checker permits overflows and equal keys of map literals, which may be constant.
pub(crate) fn can_be_evaluated(rule: &CompiledRule) -> Result<(), EvaluationError> {
    let mut last = None;
    for sample in [PodView::default(), sample_pod()] {
        let (request, facts) = (sample_request(), InjectorFacts::default());
        let is_small = |_: &str| false;
        let user = RequestUser::default();
        let (pod, user) = (values::pod(&sample, &is_small), values::user(&user, &is_small));
        let variables = Variables {
            request: values::request(&request),
            pod: &*pod,
            user: &*user,
            injector: values::injector(&facts),
        };
        match run(rule, &variables) {
            Ok(_) => return Ok(()),
            Err(error) if error.depends_on_inputs() => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(()), Err)
}

fn sample_pod() -> PodView {
    PodView {
        namespace: "team-a".to_owned(),
        name: "pod".to_owned(),
        service_account: "default".to_owned(),
        labels: vec![("app".to_owned(), "sample".to_owned())],
        annotations: vec![("note".to_owned(), "sample".to_owned())],
        ..PodView::default()
    }
}

fn sample_request() -> RequestedSecret {
    let request = SecretRequest { group: "team-a".to_owned(), key: "key".to_owned(), ..SecretRequest::default() };
    RequestedSecret::new("ampoule.dev/secrets[0]", request)
}

/// Evaluates a rule, and takes its cost from the budget.
fn evaluate(
    rule: &CompiledRule,
    inputs: &Inputs,
    variables: &Variables<'_>,
    budget: &mut u64,
) -> Result<bool, EvaluationError> {
    check_sizes(rule, inputs)?;
    let cost = Checker::new(inputs).visit(rule.program.expression()).map_err(|_| EvaluationError::Defect)?.cost;
    *budget = budget.checked_sub(cost).ok_or(EvaluationError::Budget(ADMISSION_BUDGET))?;
    run(rule, variables)
}

fn run(rule: &CompiledRule, variables: &Variables<'_>) -> Result<bool, EvaluationError> {
    let mut context = Context::with_env(environment());
    context.set_variable_resolver(variables);
    rule.patterns.register(&mut context).map_err(|_| EvaluationError::Defect)?;
    match rule.program.execute(&context) {
        Ok(Value::Bool(is_match)) => Ok(is_match),
        Ok(_) => Err(EvaluationError::Defect),
        Err(error) => Err(EvaluationError::from(&error)),
    }
}

/// Fails if a field that the rule reads is above its bound.
fn check_sizes(rule: &CompiledRule, inputs: &Inputs) -> Result<(), EvaluationError> {
    for path in &rule.reads {
        let Some(input) = inputs.at(path).filter(|input| !is_accepted(input)) else { continue };
        let bound = LARGEST.at(path).map(|largest| largest.shape.bound()).unwrap_or_default();
        return Err(EvaluationError::TooLarge { field: input.path.to_owned(), bound });
    }
    Ok(())
}

fn is_accepted(input: &Input) -> bool {
    LARGEST.at(input.path).is_none_or(|largest| input.shape.is_within(&largest.shape))
}
