//! Faults that are put into what ships, each at its border: the search must find every one.

use super::acts::{Act, How, Search};
use super::shipped::Sees;
use super::told;
use super::world::{AHEAD, ALL, BEHIND, Goods, Moments, SOON, Told, World, Wrong};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// The status and gaps are not looked at.
    TailBelowAGap,
    /// The second look does not look at the record.
    SecondLookIgnoresRecord,
    SecondLookDropped,
    /// The second look reads the record before it has read the object.
    RecordBeforeTheObject,
    /// The second look does not look at the status.
    SecondLookIgnoresStatus,
    /// A 409 is taken for the own record, and the second look does not look at it.
    ConflictIsMine,
    /// Whoever holds the record that is read, and the second look does not look at it.
    FoundIsMine,
    /// A 5xx proves that nothing was executed.
    ServerErrorIsRefusal,
    /// The call leaves before the record is created.
    SendBeforeClaim,
    /// After a 5xx the driver sends once more, and tells the purchase nothing.
    RetryOnServerError,
    /// A list that is not complete is taken for one that is.
    AbsenceFromABrokenList,
    /// A job that cannot be read is taken for one that HostUp does not know.
    UnknownFromA503,
    /// A job that cannot be read is taken for one that runs.
    KnownFromA503,
    /// The sender writes also over what a person has settled meanwhile.
    LateAnswerOverAPersons,
    /// When the API server made a record is not looked at.
    OnlyTheClaimersClock,
    /// A refusal does not use up the approval of an overwrite.
    RefusalKeepsTheApproval,
    /// The record that has the name of the one that the status shows is taken for it.
    TheNameIsEnough,
    /// That HostUp's job refuted a person's `NotExecuted` is not remembered.
    RefusedAnswerCountsLater,
}

/// A process has claimed, and stands still with its clocks while much time passes.
const FROZEN: &[Act] = &[
    Act::Look(0),
    Act::Does(1, How::Well),
    Act::Freeze(1),
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
];
/// It stands still while the record is all that is left to look at.
const FROZEN_AT_THE_RECORD: &[Act] = &[
    Act::Look(0),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
    Act::Freeze(1),
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
];
/// The first attempt has come to nothing, and its wait is over.
const WITHDRAWN: &[Act] = &[
    Act::Look(0),
    Act::Does(1, How::Well),
    Act::Look(0),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
    Act::TimePasses,
    Act::TimePasses,
];
/// Two processes have decided to buy, and one has bought.
const BOUGHT: &[Act] = &[
    Act::Look(0),
    Act::Look(0),
    Act::Does(0, How::Well),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
];
/// After [`BOUGHT`], the order has come to its end, and the status tells of it.
const AND_TOLD: &[Act] = &[Act::Listed(1), Act::Follow(1, 1, Sees::Well), Act::Look(1)];
/// The call was sent, and its answer is not written yet.
const SENT: &[Act] = &[
    Act::Look(0),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
    Act::Does(1, How::Well),
];
/// The call was sent, and HostUp has accepted it.
const ACCEPTED: &[Act] = &[
    Act::Look(0),
    Act::Does(0, How::Well),
    Act::Does(0, How::Well),
    Act::Does(0, How::Well),
    Act::Does(0, How::Well),
    Act::Does(0, How::Well),
];
/// After [`ACCEPTED`], HostUp has forgotten the job, and a person is asked.
const ASKED: &[Act] = &[
    Act::Forgets(1),
    Act::Follow(0, 1, Sees::Well),
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::Follow(0, 1, Sees::Well),
    Act::Follow(0, 1, Sees::Well),
    Act::Follow(0, 1, Sees::Well),
];
/// After [`ACCEPTED`], HostUp's job has lasted too long, and a person is asked, and says that it was not executed.
const DENIED: &[Act] = &[
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::TimePasses,
    Act::Follow(0, 1, Sees::Well),
    Act::Answer(1, Told::NotExecuted),
];

struct Hunt {
    mutant: Mutant,
    world: World,
    moments: Moments,
    /// What has happened before the search begins.
    begin: Vec<Act>,
    wrongs: &'static [Wrong],
}

fn hunts() -> Vec<Hunt> {
    use Wrong::{
        ActedTooEarly, AfterItWasSettled, CalledAbsent, Lost, MovedUnread, QuestionWithdrawn, RefutedAnswer,
        SameRecordTwice, SettledChanged, StuckSending, Twice, WithoutRecord,
    };
    let hunt = |mutant, wrongs, world| Hunt {
        mutant,
        world,
        moments: SOON,
        begin: Vec::new(),
        wrongs,
    };
    let after = |begin: &[&[Act]], hunt| Hunt {
        begin: begin.concat(),
        ..hunt
    };
    vec![
        after(
            &[WITHDRAWN],
            hunt(
                Mutant::TailBelowAGap,
                &[Twice, SameRecordTwice],
                World::new(2, 0, 1, 0),
            ),
        ),
        after(
            &[FROZEN],
            hunt(
                Mutant::SecondLookIgnoresRecord,
                &[AfterItWasSettled],
                World::new(2, 1, 0, 1),
            ),
        ),
        after(
            &[FROZEN],
            hunt(
                Mutant::SecondLookDropped,
                &[AfterItWasSettled],
                World::new(2, 1, 0, 1),
            ),
        ),
        after(
            &[FROZEN_AT_THE_RECORD],
            hunt(
                Mutant::RecordBeforeTheObject,
                &[AfterItWasSettled],
                World::new(2, 1, 0, 1),
            ),
        ),
        after(
            &[BOUGHT],
            hunt(
                Mutant::SecondLookIgnoresStatus,
                &[SameRecordTwice],
                World::new(2, 0, 1, 0),
            ),
        ),
        hunt(Mutant::ConflictIsMine, &[WithoutRecord], World::new(2, 0, 0, 0)),
        hunt(Mutant::FoundIsMine, &[WithoutRecord], World::new(2, 0, 0, 0)),
        hunt(Mutant::ServerErrorIsRefusal, &[Lost], World::new(2, 1, 0, 0)),
        hunt(Mutant::SendBeforeClaim, &[WithoutRecord], World::new(2, 0, 0, 0)),
        hunt(
            Mutant::RetryOnServerError,
            &[SameRecordTwice],
            World::new(2, 1, 0, 0),
        ),
        hunt(
            Mutant::AbsenceFromABrokenList,
            &[CalledAbsent],
            World::new(1, 2, 0, 0),
        ),
        hunt(Mutant::UnknownFromA503, &[MovedUnread], World::new(2, 1, 0, 0)),
        hunt(Mutant::KnownFromA503, &[MovedUnread], World::new(1, 2, 0, 0)),
        after(
            &[ACCEPTED, ASKED],
            hunt(
                Mutant::KnownFromA503,
                &[QuestionWithdrawn],
                World::new(1, 2, 0, 0),
            ),
        ),
        after(
            &[SENT],
            hunt(
                Mutant::LateAnswerOverAPersons,
                &[SettledChanged],
                World::new(2, 0, 0, 1),
            ),
        ),
        hunt(Mutant::RefusalKeepsTheApproval, &[Twice], World::new(1, 1, 0, 0)),
        after(
            &[BOUGHT, AND_TOLD],
            hunt(Mutant::TheNameIsEnough, &[Twice], World::new(2, 0, 1, 0)),
        ),
        after(
            &[ACCEPTED, DENIED],
            Hunt {
                moments: ALL,
                ..hunt(
                    Mutant::RefusedAnswerCountsLater,
                    &[RefutedAnswer],
                    World::new(1, 1, 0, 1),
                )
            },
        ),
        hunt(
            Mutant::OnlyTheClaimersClock,
            &[StuckSending],
            World::new(2, 1, 0, 0).with_a_clock(AHEAD),
        ),
        hunt(
            Mutant::OnlyTheClaimersClock,
            &[ActedTooEarly],
            World::new(2, 1, 0, 1).with_a_clock(BEHIND),
        ),
    ]
}

#[test]
fn each_fault_that_is_put_in_is_found() {
    for Hunt {
        mutant,
        world,
        moments,
        begin,
        wrongs,
    } in hunts()
    {
        let goods = match mutant {
            Mutant::RefusalKeepsTheApproval | Mutant::TheNameIsEnough | Mutant::RefusedAnswerCountsLater => {
                Goods::Disk
            }
            _ => Goods::NewVm,
        };
        let searched = |mutant, most| {
            let mut search = Search::new(goods, mutant);
            search.moments = moments;
            let start = begin.iter().fold(world, |start, act| {
                let next = search.after(&start, *act);
                next.unwrap_or_else(|| panic!("{mutant:?}: {act:?} does not happen in {start:?}"))
            });
            search.run(start, most)
        };
        let found = searched(mutant, 3_000_000);
        let Some((is, path)) = found.wrong else {
            panic!(
                "{mutant:?} is not found in {} states, {} deep",
                found.states, found.depth
            );
        };
        println!(
            "{mutant:?}: {is:?} after {} states:{}",
            found.states,
            told(&[begin.as_slice(), path.as_slice()].concat())
        );
        assert!(wrongs.contains(&is), "{mutant:?}: {is:?}");
        let shipped = searched(Mutant::None, found.states);
        assert!(
            shipped.wrong.is_none(),
            "{mutant:?}, and what ships has it: {:?}",
            shipped.wrong
        );
    }
}
