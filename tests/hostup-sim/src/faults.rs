//! Faults: for the n-th call of a route, whether it is carried out and what is answered. The two
//! are independent.

use crate::answers::Answer;
use crate::log::Auth;
use crate::routes::Route;
use crate::world::World;

/// A fault in the making; [`Backstage::inject`](crate::Backstage::inject) arms it.
#[derive(Clone, Debug)]
pub struct Fault {
    route: Route,
    skip: u32,
    times: Option<u32>,
    acted: Option<bool>,
    answer: Answer,
    key: Option<String>,
    path_part: Option<String>,
}

impl Fault {
    /// A fault on the next call of a route ([`Route::Any`]: of any).
    #[must_use]
    pub fn on(route: Route) -> Fault {
        Fault {
            route,
            skip: 0,
            times: Some(1),
            acted: None,
            answer: Answer::normal(),
            key: None,
            path_part: None,
        }
    }

    /// Lets so many calls pass first. All calls that match count, also those that another fault
    /// answers.
    #[must_use]
    pub fn skip(mut self, calls: u32) -> Fault {
        self.skip = calls;
        self
    }

    /// Holds for so many calls (1 unless said).
    #[must_use]
    pub fn times(mut self, calls: u32) -> Fault {
        self.times = Some(calls);
        self
    }

    /// Holds for all calls from then on.
    #[must_use]
    pub fn always(mut self) -> Fault {
        self.times = None;
        self
    }

    /// Whether the call is carried out, whatever is answered. A call that the provider would refuse
    /// (a bad key, a bad body) is refused all the same and buys nothing. For a route that is in the ledger it must
    /// be said, unless the answer is the normal one; elsewhere calls are carried out.
    #[must_use]
    pub fn acted(mut self, acted: bool) -> Fault {
        self.acted = Some(acted);
        self
    }

    /// What is answered.
    #[must_use]
    pub fn answer(mut self, answer: Answer) -> Fault {
        self.answer = answer;
        self
    }

    /// Only calls with this key (by its text).
    #[must_use]
    pub fn key(mut self, secret: &str) -> Fault {
        self.key = Some(secret.to_owned());
        self
    }

    /// Only calls whose path contains this.
    #[must_use]
    pub fn path_contains(mut self, part: &str) -> Fault {
        self.path_part = Some(part.to_owned());
        self
    }

    fn name(&self) -> String {
        let route = self.route;
        let skip = self.skip;
        format!("fault on {route:?} (skip {skip}): {}", self.answer.name())
    }
}

/// A fault that is armed.
#[derive(Debug)]
pub(crate) struct ArmedFault {
    fault: Fault,
    seen: u32,
    fired: u32,
}

/// What a fault decided for one request.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    pub(crate) acted: bool,
    pub(crate) answer: Answer,
}

impl ArmedFault {
    pub(crate) fn new(fault: Fault) -> ArmedFault {
        let executes = fault.route.is_ledgered() || fault.route == Route::Any;
        assert!(
            !executes || fault.acted.is_some() || fault.answer.is_harmless(),
            "{}: say .acted(true) or .acted(false), for the route spends money or writes",
            fault.name()
        );
        ArmedFault {
            fault,
            seen: 0,
            fired: 0,
        }
    }

    /// It fired as often as it was to.
    fn is_spent(&self) -> bool {
        self.fault.times.is_some_and(|times| self.fired >= times)
    }

    pub(crate) fn unfired(&self) -> Option<String> {
        let wanted = self.fault.times.unwrap_or(1);
        (self.fired < wanted).then(|| {
            format!(
                "{}: fired {} of {wanted} time(s), saw {} call(s)",
                self.fault.name(),
                self.fired,
                self.seen
            )
        })
    }
}

impl World {
    /// The first fault that has its turn with this request. All that match count it.
    pub(crate) fn verdict(&mut self, route: Route, path: &str, auth: &Auth) -> Option<Verdict> {
        let key_of = |secret: &str, world: &World| world.auth_of(secret) == *auth;
        let matching: Vec<bool> = self
            .faults
            .iter()
            .map(|armed| {
                let fault = &armed.fault;
                route.is_in(fault.route)
                    && fault.key.as_ref().is_none_or(|key| key_of(key, self))
                    && fault.path_part.as_ref().is_none_or(|part| path.contains(part))
            })
            .collect();
        let mut verdict = None;
        for (armed, _) in self.faults.iter_mut().zip(matching).filter(|(_, is)| *is) {
            armed.seen += 1;
            let due = armed.seen > armed.fault.skip && !armed.is_spent();
            if due && verdict.is_none() {
                armed.fired += 1;
                verdict = Some(Verdict {
                    name: armed.fault.name(),
                    acted: armed.fault.acted.unwrap_or(true),
                    answer: armed.fault.answer.clone(),
                });
            }
        }
        if verdict.is_some() {
            self.faults.retain(|armed| !armed.is_spent());
        }
        verdict
    }
}
