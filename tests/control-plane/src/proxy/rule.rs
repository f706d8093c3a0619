use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::gate::Gate;
use super::request::Request;

type Predicate = Box<dyn Fn(&Request) -> bool + Send>;

/// What the proxy does with a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Passes it on, as without a rule. Before a broader rule it makes an exception.
    Forward,
    /// Answers with this status and body, an empty one for null; the API server never sees the request.
    Respond(u16, Value),
    /// The API server does it; the client gets this status and body instead of the answer.
    ForwardThenRespond(u16, Value),
    /// The API server does it; the client's connection is cut without an answer.
    ForwardThenCut,
    /// The connection is cut; the API server never sees the request.
    CutBefore,
    /// The request waits at the gate before it is passed on, even if its client is gone by then.
    HoldBefore(Gate),
    /// The API server does it; the answer waits at the gate.
    HoldAfter(Gate),
    /// The request is passed on this much later, even if its client is gone by then.
    Delay(Duration),
    /// The API server gets it twice, one after the other; the client gets the second answer.
    DuplicateForward,
    /// The API server gets another body, as from a webhook that changes what it admits.
    Rewrite(fn(&mut Value)),
}

/// The body of an error as the API server writes it, for [`Action::Respond`].
#[must_use]
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    })
}

/// What the proxy does with some requests.
///
/// ```
/// use control_plane::{Action, Rule};
///
/// let lost_answer = Rule::on("POST", |request| request.path.ends_with("/vpsoperations"))
///     .named("the answer to the claim is lost")
///     .skip(1)
///     .action(Action::ForwardThenCut);
/// ```
pub struct Rule {
    which: Match,
    action: Action,
    seen: usize,
    fired: usize,
}

/// Which requests a [`Rule`] is about: by default the first that matches, and only that.
pub struct Match {
    name: String,
    method: String,
    predicate: Predicate,
    skip: usize,
    times: Option<usize>,
}

impl Rule {
    /// Begins a rule for requests with this method (`*` for any) that satisfy the predicate.
    pub fn on(method: &str, predicate: impl Fn(&Request) -> bool + Send + 'static) -> Match {
        Match {
            name: "unnamed rule".to_owned(),
            method: method.to_owned(),
            predicate: Box::new(predicate),
            skip: 0,
            times: Some(1),
        }
    }

    fn takes(&mut self, request: &Request) -> bool {
        let which = &self.which;
        if which.method != "*" && which.method != request.method {
            return false;
        }
        if !(which.predicate)(request) {
            return false;
        }
        self.seen += 1;
        if self.seen <= which.skip || which.times.is_some_and(|times| self.fired >= times) {
            return false;
        }
        self.fired += 1;
        true
    }

    /// What is missing, if it acted less often than it says.
    fn unfired(&self) -> Option<String> {
        let Match {
            name,
            method,
            times,
            skip,
            ..
        } = &self.which;
        let wanted = times.unwrap_or(1);
        (self.fired < wanted).then(|| {
            format!(
                "{name}: on {method}, acted {} of {wanted} times, saw {} matching requests and skips {skip}",
                self.fired, self.seen
            )
        })
    }
}

impl Match {
    /// What the fault is, for [`ApiProxy::unfired`](super::ApiProxy::unfired).
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Leaves the first `n` matching requests to other rules.
    #[must_use]
    pub fn skip(mut self, n: usize) -> Self {
        self.skip = n;
        self
    }

    /// Acts `k` times, then never again.
    #[must_use]
    pub fn times(mut self, k: usize) -> Self {
        self.times = Some(k);
        self
    }

    /// Acts every time; [`ApiProxy::unfired`](super::ApiProxy::unfired) then asks for once.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Completes the rule.
    #[must_use]
    pub fn action(self, action: Action) -> Rule {
        Rule {
            which: self,
            action,
            seen: 0,
            fired: 0,
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.which.name)
            .field("action", &self.action)
            .field("fired", &self.fired)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Match")
            .field("name", &self.name)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The rules of a proxy, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct RuleBook(Vec<Rule>);

impl RuleBook {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn action_for(&mut self, request: &Request) -> Option<Action> {
        self.0
            .iter_mut()
            .find_map(|rule| rule.takes(request).then(|| rule.action.clone()))
    }

    pub(super) fn unfired(&self) -> Vec<String> {
        self.0.iter().filter_map(Rule::unfired).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Request {
        Request {
            n: 1,
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            body: bytes::Bytes::new(),
        }
    }

    fn code(action: Option<Action>) -> Option<u16> {
        match action {
            Some(Action::Respond(code, _)) => Some(code),
            _ => None,
        }
    }

    #[test]
    fn a_rule_skips_then_acts_then_leaves_the_rest_to_the_next_one() {
        let mut book = RuleBook::default();
        let about_x = || Rule::on("GET", |request| request.path == "/x");
        book.add(
            about_x()
                .skip(1)
                .times(2)
                .action(Action::Respond(500, Value::Null)),
        );
        book.add(about_x().always().action(Action::Respond(404, Value::Null)));
        let codes: Vec<_> = (0..4).map(|_| code(book.action_for(&get("/x")))).collect();
        assert_eq!(codes, [Some(404), Some(500), Some(500), Some(404)]);
        assert_eq!(code(book.action_for(&get("/y"))), None);
        assert!(book.unfired().is_empty());
    }

    #[test]
    fn a_rule_that_did_not_act_says_so() {
        let mut book = RuleBook::default();
        book.add(
            Rule::on("POST", |_| true)
                .named("lost claim")
                .action(Action::CutBefore),
        );
        assert!(book.action_for(&get("/x")).is_none());
        assert!(book.unfired()[0].starts_with("lost claim"));
    }
}
