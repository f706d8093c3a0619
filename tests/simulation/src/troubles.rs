//! What befalls an account at HostUp for a while: its key is revoked or has lost a right, or the account is locked, and
//! shows nothing or says no to everything.

use std::time::Duration;

use hostup_sim::{Answer, Fault, InProcess, Route, default_scopes};
use tokio::time::Instant;

use crate::dice::Dice;
use crate::met::{KEY_REVOKED, RIGHT_LOST, SAYS_NO, SHOWS_NOTHING};
use crate::story::Story;

/// A whole list of nothing.
const NOTHING: &str = r#""data": [], "hasMore": false, "nextCursor": null"#;
/// The storm may last longer by so much, for what follows the VMs concludes nothing sooner.
const LONGEST_STORM: Duration = Duration::from_secs(90);

/// The troubles of the accounts of a life, one at a time.
pub struct Troubles {
    hostup: InProcess,
    dice: Dice,
    /// The keys of the accounts.
    keys: Vec<String>,
    /// The key of the account that is in trouble, and until when.
    troubled: Option<(String, Instant)>,
}

impl Troubles {
    /// None yet.
    pub fn new(hostup: InProcess, dice: Dice, keys: Vec<String>) -> Self {
        Self {
            hostup,
            dice,
            keys,
            troubled: None,
        }
    }

    /// By how much the storm lasts longer.
    pub fn last(&self) -> Duration {
        let longest = if self.dice.happens(200) {
            LONGEST_STORM
        } else {
            Duration::ZERO
        };
        self.dice.between(Duration::ZERO, longest)
    }

    /// Sometimes one begins, and one ends when its time is over.
    pub fn turn(&mut self, story: &Story) {
        if let Some((_, until)) = &self.troubled {
            if *until <= Instant::now() {
                self.end(story);
            }
            return;
        }
        if self.dice.happens(60) {
            let key = self.dice.one(&self.keys);
            let trouble = self.begin(&key);
            story.fault(trouble, || key.clone());
            let longest = self.dice.one(&[4, 4, 4, 60]);
            let lasts = self.dice.between(Duration::ZERO, Duration::from_secs(longest));
            self.troubled = Some((key, Instant::now() + lasts));
        }
    }

    fn begin(&self, key: &str) -> &'static str {
        let answers = |route, answer| {
            let fault = Fault::on(route).key(key).always();
            self.hostup.inject(fault.acted(false).answer(answer));
        };
        match self.dice.below(5) {
            0 => {
                self.hostup.world(|world| world.revoke_key(key));
                KEY_REVOKED
            }
            1 => {
                let lost = self.dice.one(&default_scopes());
                self.hostup
                    .world(|world| world.key_mut(key).scopes.retain(|scope| *scope != lost));
                RIGHT_LOST
            }
            2 => {
                answers(Route::Job, Answer::problem(403, "forbidden"));
                RIGHT_LOST
            }
            3 => {
                answers(Route::ListVps, Answer::json(200, format!("{{{NOTHING}}}")));
                // Or the list alone, and each VPS is found by its id.
                if self.dice.happens(500) {
                    answers(Route::Any, Answer::problem(404, "not_found"));
                }
                SHOWS_NOTHING
            }
            _ => {
                let no = format!("{{\"success\": false, {NOTHING}}}");
                answers(Route::ListVps, Answer::json(200, no.clone()));
                answers(Route::ListBackups, Answer::json(200, no));
                answers(Route::Any, Answer::success_false(200));
                SAYS_NO
            }
        }
    }

    /// The account is as it was.
    pub fn end(&mut self, story: &Story) {
        let Some((key, _)) = self.troubled.take() else {
            return;
        };
        self.hostup.clear_faults();
        self.hostup.world(|world| {
            world.reinstate_key(&key);
            world.key_mut(&key).scopes = default_scopes();
        });
        story.tell(|| format!("the trouble of {key} is over"));
    }
}
