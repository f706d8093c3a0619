//! What the search found of clocks that differ, as it happened.

use super::acts::{Act, How, Search};
use super::faults::Mutant;
use super::shipped::Sees;
use super::world::{BEHIND, Goods, Told, World};

#[test]
fn a_sender_whose_clock_is_an_hour_behind_does_not_shorten_the_settle_time_for_others() {
    let mut search = Search::new(Goods::NewVm, Mutant::None);
    let mut world = World::new(2, 1, 0, 1).with_a_clock(BEHIND);
    for act in [
        Act::Look(0),
        Act::Does(0, How::Well),
        Act::Does(0, How::Well),
        Act::Does(0, How::Well),
        Act::Does(0, How::LostAfter),
        Act::Does(0, How::Well),
        Act::Follow(1, 1, Sees::Well),
        Act::Follow(1, 1, Sees::Well),
        Act::Follow(1, 1, Sees::Well),
        Act::Answer(1, Told::NotExecuted),
        Act::Follow(1, 1, Sees::Well),
    ] {
        // Nobody is asked yet once this is mended, and nobody answers.
        if let Some(next) = search.after(&world, act) {
            world = next;
        }
        assert_eq!(world.wrong, None, "{act:?}");
    }
}
