//! The life of one request, however it came: log, faults, gate, act, gate, answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admin;
use crate::backstage::Shared;
use crate::faults::Verdict;
use crate::gates::Stage;
use crate::http::{Incoming, Outgoing};
use crate::log::{Auth, Finish, Keep, RequestRecord};
use crate::routes::{Reply, Route, Target, recognise};
use crate::world::World;

/// A request that stands in the log.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) incoming: Incoming,
    target: Target,
    index: usize,
    verdict: Option<Verdict>,
}

/// A request that a gate holds and whose caller has left: it is carried out when the gate opens.
pub(crate) struct Left {
    gate: u64,
    logged: Arc<Logged>,
}

/// How a request begins.
pub(crate) enum Begun {
    /// It was one of the admin API, and is answered.
    Admin(Outgoing),
    Life(Life),
}

/// A request on its way through the provider.
pub(crate) struct Life {
    shared: Arc<Shared>,
    logged: Arc<Logged>,
    carried_out: bool,
    recorded: bool,
}

impl Life {
    /// Writes a request into the log and asks the faults about it. Without a connection it came in
    /// process.
    pub(crate) fn begin(shared: &Arc<Shared>, incoming: Incoming, connection: Option<u64>) -> Begun {
        shared.change(|world| {
            if let Some(outgoing) = admin::answer(world, &incoming) {
                return Begun::Admin(outgoing);
            }
            let target = recognise(&incoming.method, &incoming.path, &incoming.body);
            let auth = world.auth_from(&incoming, target.route);
            let verdict = world.verdict(target.route, &incoming.path, &auth);
            let fault = verdict.as_ref().map(|verdict| verdict.name.clone());
            let index = world.log_request(&incoming, target.route, auth, fault, connection);
            Begun::Life(Life {
                shared: Arc::clone(shared),
                logged: Arc::new(Logged {
                    incoming,
                    target,
                    index,
                    verdict,
                }),
                carried_out: false,
                recorded: false,
            })
        })
    }

    /// Carries it out and makes its answer, when gates and delays allow it.
    pub(crate) async fn answered(&mut self) -> Outgoing {
        self.held(Stage::BeforeAct).await;
        let mut outgoing = self.shared.change(|world| world.fulfil(&self.logged));
        self.carried_out = true;
        self.held(Stage::AfterAct).await;
        if self.logged.incoming.method == "HEAD" {
            outgoing.body.clear();
        }
        outgoing.wait().await;
        outgoing
    }

    async fn held(&self, stage: Stage) {
        let Logged { target, index, .. } = &*self.logged;
        let gate = self
            .shared
            .change(|world| world.enter_gate(target.route, stage, *index));
        let Some(gate) = gate else { return };
        let mut changes = self.shared.changes();
        while self.shared.look(|world| world.gate_holds(gate).is_some()) {
            changes.changed().await;
        }
    }

    /// Writes down how its answering ended; the second time, that it ended otherwise.
    pub(crate) fn record(&mut self, status: Option<u16>, finish: Finish) {
        let Logged { target, index, .. } = &*self.logged;
        self.shared.change(|world| {
            let now = world.clock.now();
            if self.recorded {
                world.log.corrected(*index, status, finish, now);
            } else {
                world.log.answered(target.route, *index, status, finish, now);
            }
        });
        self.recorded = true;
    }

    /// The caller has left before it had an answer. What arrived is carried out all the same.
    pub(crate) fn left(&self) {
        let logged = &self.logged;
        self.shared.change(|world| {
            let gate = world.gate_that_holds(logged.index);
            match gate.filter(|_| !self.carried_out) {
                Some(gate) => world.left.push(Left {
                    gate,
                    logged: Arc::clone(logged),
                }),
                None => world.finish_alone(logged, self.carried_out),
            }
        });
    }
}

impl World {
    /// Carries a request out as its fault says, and makes its answer.
    fn fulfil(&mut self, logged: &Logged) -> Outgoing {
        let Logged {
            incoming,
            target,
            index,
            verdict,
        } = logged;
        let verdict = verdict.as_ref();
        let act = verdict.is_none_or(|verdict| verdict.acted);
        let normal_wanted = verdict.is_none_or(|verdict| verdict.answer.needs_normal());
        let reply = if act || normal_wanted {
            // The key as it stands now: it may have been revoked while the request was held.
            let auth = self.auth_from(incoming, target.route);
            let done = self.carry_out(incoming, target, &auth, act, *index);
            self.log.acted(target.route, *index, done.acted, done.throttled);
            done.reply
        } else {
            Reply::nothing()
        };
        self.run_hooks(target.route);
        match verdict {
            Some(verdict) => verdict.answer.make(reply, &incoming.path, self),
            None => reply.onto_wire(),
        }
    }

    fn finish_alone(&mut self, logged: &Logged, carried_out: bool) {
        if !carried_out {
            self.fulfil(logged);
        }
        let (route, now) = (logged.target.route, self.clock.now());
        self.log
            .answered(route, logged.index, None, Finish::ClientLeft, now);
    }

    /// Carries out what waits at a gate for nobody.
    pub(crate) fn let_the_left_go(&mut self, gate: u64) {
        let (due, rest) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|left| left.gate == gate);
        self.left = rest;
        let due: Vec<Left> = due;
        for left in due {
            self.finish_alone(&left.logged, false);
        }
    }

    /// Whose credentials a request carries: Bearer everywhere; `X-API-Key` on the legacy routes
    /// (their pages).
    fn auth_from(&self, incoming: &Incoming, route: Route) -> Auth {
        if let Some(value) = incoming.header("authorization") {
            return match value.split_once(' ') {
                Some((scheme, secret))
                    if scheme.eq_ignore_ascii_case("bearer") && !secret.trim().is_empty() =>
                {
                    self.auth_of(secret.trim())
                }
                _ => Auth::Malformed,
            };
        }
        match incoming.header("x-api-key") {
            Some(secret) if route.is_legacy() => self.auth_of(secret),
            _ => Auth::Missing,
        }
    }

    fn log_request(
        &mut self,
        incoming: &Incoming,
        route: Route,
        auth: Auth,
        fault: Option<String>,
        connection: Option<u64>,
    ) -> usize {
        let nth_on_connection = connection.map_or(1, |id| {
            let connected = self.connection_mut(id);
            connected.requests += 1;
            connected.requests
        });
        let index = self.log.next();
        let record = (self.keep == Keep::Everything).then(|| RequestRecord {
            index,
            connection: connection.unwrap_or(0),
            nth_on_connection,
            http_version: incoming.version.clone(),
            first_byte_at: incoming.first_byte_at,
            received_at: self.clock.now(),
            at: self.wall(),
            route,
            method: incoming.method.clone(),
            path: incoming.path.clone(),
            query: incoming.query.clone(),
            headers: shown_headers(incoming, &auth),
            auth,
            key_elsewhere: self.has_key_elsewhere(incoming),
            body: incoming.body.clone(),
            acted: false,
            throttled: false,
            fault,
            status: None,
            finish: None,
            finished_at: None,
        });
        self.log.arrived(route, record);
        index
    }

    fn has_key_elsewhere(&self, incoming: &Incoming) -> bool {
        let holds = |secret: &str, text: &[u8]| {
            !secret.is_empty()
                && text
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes())
        };
        self.secrets().any(|secret| {
            holds(secret, incoming.path.as_bytes())
                || incoming
                    .query
                    .as_ref()
                    .is_some_and(|query| holds(secret, query.as_bytes()))
                || holds(secret, &incoming.body)
                || incoming.headers.iter().any(|(name, value)| {
                    name != "authorization"
                        && (holds(secret, name.as_bytes()) || holds(secret, value.as_bytes()))
                })
        })
    }
}

fn shown_headers(incoming: &Incoming, auth: &Auth) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &incoming.headers {
        let shown = match name.as_str() {
            "authorization" | "x-api-key" => format!("<{auth:?}>"),
            _ => value.clone(),
        };
        headers
            .entry(name.clone())
            .and_modify(|own| {
                own.push_str(", ");
                own.push_str(&shown);
            })
            .or_insert(shown);
    }
    headers
}
