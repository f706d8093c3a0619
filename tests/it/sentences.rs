//! HostUp's words stand inside our sentences; whatever they end with, the sentences are well made.

use futures::future::join_all;
use hostup_sim::{ActionGate, Answer, Route};
use serde_json::Value;

use crate::support::{TestEnv, at, ready};

/// What HostUp may end its words with.
const ENDS: [&str; 8] = ["", ".", "..", "...", "!", "?", "; ", ": ."];

/// Two stops in a row, with or without a blank between.
fn is_badly_made(message: &str) -> bool {
    // Commands are not sentences.
    let stops = ['.', ',', ';', ':', '!', '?', ' '];
    // What HostUp says last may end as it likes.
    let sentence = message.split("kubectl").next().unwrap().trim_end_matches(stops);
    let marks: Vec<char> = sentence.chars().filter(|c| !c.is_whitespace()).collect();
    marks
        .windows(2)
        .any(|pair| matches!(pair, [first, second] if stops.contains(first) && stops.contains(second)))
        || sentence.contains(" .")
        || sentence.contains(" ;")
}

#[test]
fn two_stops_are_badly_made_and_commands_are_not() {
    for bad in [
        "in this state.. The next",
        "no!. It",
        "no ; yes",
        "so:; x",
        "a. . b",
    ] {
        assert!(is_badly_made(bad), "{bad}");
    }
    for good in [
        "HostUp refused: no. The next one follows at 2026-11-23T00:00:00Z",
        "do: kubectl x '...'",
        "a; b",
    ] {
        assert!(!is_badly_made(good), "{good}");
    }
}

/// A restore that HostUp has words against, and the reason that it comes to.
#[derive(Debug, Clone, Copy)]
enum Words {
    ClosedGate,
    Refused,
    NoKey,
    NoVps,
}

impl Words {
    const ALL: [Self; 4] = [Self::ClosedGate, Self::Refused, Self::NoKey, Self::NoVps];

    fn reason(self) -> &'static str {
        match self {
            Self::ClosedGate => "GatesClosed",
            Self::Refused => "Rejected",
            Self::NoKey => "Unauthorized",
            Self::NoVps => "VpsNotFound",
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_words_of_hostup_make_no_double_stops() {
    let env = TestEnv::new("stops").await;
    let mut rows = Vec::new();
    for (n, end) in ENDS.into_iter().enumerate() {
        for words in Words::ALL {
            let name = format!("{}{n}", format!("{words:?}").to_lowercase());
            let customer = env.customer(&name).await;
            let said = format!("Not in this state{end}");
            match words {
                Words::ClosedGate => env.sim.world(|world| {
                    let gate = ActionGate::closed(&said, None);
                    world.vps_mut(&customer.vps).unwrap().can_restore = gate;
                }),
                Words::Refused => env.sim.inject(
                    customer
                        .fault(Route::RestoreToPayg)
                        .acted(false)
                        .answer(Answer::problem(400, "invalid_request").detail(&said)),
                ),
                Words::NoKey => env.sim.inject(
                    customer
                        .fault(Route::Any)
                        .acted(false)
                        .always()
                        .answer(Answer::problem(401, "unauthorized").detail(&said)),
                ),
                Words::NoVps => env.sim.inject(
                    customer
                        .fault(Route::GetVps)
                        .always()
                        .answer(Answer::problem(404, "vps_not_found").detail(&said)),
                ),
            }
            rows.push((words, customer));
        }
    }
    let _operator = env.operator_for_many(&[]);
    let shown: Vec<Value> = join_all(rows.iter().map(|(words, customer)| async {
        env.create(customer.restore(&env)).await;
        env.wait_for_reason(&customer.name, words.reason()).await
    }))
    .await;
    for object in &shown {
        let message = ready(object)["message"].as_str().unwrap();
        assert!(message.contains("Not in this state"), "{message}");
        assert!(
            !is_badly_made(message),
            "{}: {message}",
            at(object, "metadata.name")
        );
    }
}
