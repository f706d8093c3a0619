//! Another size of a pay-as-you-go VM: its gates, its price from HostUp's rates, and the order.

use serde_json::json;

use super::before_claim::{Call, facts};
use super::{Decision, Look, OptionsWish, Reading, Resize, StatusView, reported};
use crate::action::ordered::{Action, Change};
use crate::consent::price::{HourlyPrice, Price, Size};
use crate::ledger::record::later;
use crate::provider::gate::{self, Gate, GateName};
use crate::provider::options::{self, Difference, Values};
use crate::provider::preflight;
use crate::status::reason::Reason;

impl Look<'_> {
    pub(super) fn with_rates(
        &self,
        wish: &OptionsWish,
        reading: &Reading,
        difference: &Difference,
        shown: StatusView,
    ) -> Decision {
        let gate_time = Some(later(self.now, self.times.gate_interval));
        let sizes = reading.resize.as_ref().and_then(|resize| {
            let now = resize.size?;
            Some((resize, now, resized(now, &wish.wanted)?))
        });
        let Some((resize, now, then)) = sizes else {
            let message = "HostUp does not show the size of the VM, so nothing is bought";
            return reported(Reason::ProviderUnavailable, message, facts(shown), gate_time);
        };
        let mut gates = gates(resize, difference, then);
        gates.extend(self.busy_gate());
        gates.extend(self.backup_gate(reading));
        let price = resize.rates.as_ref();
        let price = price.and_then(|rates| HourlyPrice::of_resize(now, then, rates));
        let placed = price.map(Price::Hourly).map(|fresh| {
            let call = Call {
                path: format!("/api/v2/vps/{}/actions/resize", wish.vps),
                body: json!({"cpuCores": then.cpu_cores, "memoryGb": then.memory_gb}).to_string(),
                action: Action::Resize(Change {
                    difference: difference.clone(),
                    corrects_drift: shown.drifted == Some(true),
                }),
                after: Vec::new(),
            };
            let (order, quote) = self.ordered(wish, reading, call, &gates, &fresh);
            (order, quote, fresh)
        });
        let shown = StatusView {
            gates,
            quote: placed.as_ref().map(|(_, quote, _)| quote.clone()),
            ..shown
        };
        if let Some(message) = gate::told(&shown.gates) {
            return reported(Reason::GatesClosed, message, facts(shown), gate_time);
        }
        let Some((order, quote, fresh)) = placed else {
            let message = "HostUp names no complete price for this size, so nothing is bought";
            return reported(Reason::ProviderUnavailable, message, facts(shown), gate_time);
        };
        let what = format!("{difference} (HostUp may restart the VM for it)");
        self.order(order, quote, fresh, difference.lowers(), &what, shown)
    }
}

/// The size that a VM of size `now` has with these parts; `None` where one is no count.
fn resized(now: Size, wanted: &Values) -> Option<Size> {
    let part = |key: &str| -> Option<u32> { Some(wanted.get(key)?.number()?.ceil_to_u32()) };
    Some(Size {
        cpu_cores: part(options::CPU_CORES)?,
        memory_gb: part(options::MEMORY_GB)?,
        ..now
    })
}

fn gates(resize: &Resize, difference: &Difference, then: Size) -> Vec<Gate> {
    let can = &resize.can_resize;
    vec![
        Gate::new(GateName::CanResize, can.allowed, &can.code, &can.reason),
        preflight::resize_gate(resize.remaining, difference, then),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::tests::{amount, intent_of, message, open, quote_of, read, reading, reason, wish};
    use super::super::{Goods, Intent, ProviderReading, Seen, StatusFacts, View, decide};
    use super::*;
    use crate::consent::approval::{Approval, Ceiling, CeilingUntil};
    use crate::consent::price::Rates;
    use crate::ledger::record::State;
    use crate::provider::gate::ProviderGate;
    use crate::provider::options::sizes;
    use crate::provider::preflight::Remaining;
    use crate::restore::tests::{now, recorded, times};
    use crate::values::money::Currency;

    const NOW: Size = Size {
        cpu_cores: 2,
        memory_gb: 4,
        storage_gb: 80,
    };

    fn sek() -> Currency {
        Currency::parse("SEK").unwrap()
    }

    fn size(cpu_cores: u32, memory_gb: u32) -> OptionsWish {
        let wanted = sizes(Some(Size {
            cpu_cores,
            memory_gb,
            ..NOW
        }))
        .into_iter();
        OptionsWish {
            goods: Goods::Size,
            wanted: wanted.map(|part| (part.key, part.current.unwrap())).collect(),
            ..wish()
        }
    }

    fn per_hour(most: &str) -> Approval {
        Approval::from(CeilingUntil {
            most: Ceiling::Hourly {
                per_hour: amount(most),
                currency: sek(),
            },
            valid_until: None,
        })
    }

    fn intent(wish: OptionsWish, approval: Option<Approval>) -> Intent {
        Intent {
            approval,
            ..intent_of(wish)
        }
    }

    fn resize() -> Resize {
        Resize {
            size: Some(NOW),
            can_resize: open(),
            rates: Some(Rates {
                currency: sek(),
                cpu_core: amount("0.12"),
                memory_gb: amount("0.04"),
                storage_gb: amount("0.003"),
                ipv4: amount("0.02"),
                traffic_gb: None,
            }),
            remaining: Remaining {
                cpu_cores: 2,
                memory_gb: 4,
                ..Remaining::default()
            },
        }
    }

    fn seen(resize: Resize) -> View {
        read(Reading {
            is_payg: true,
            offers: sizes(resize.size),
            resize: Some(resize),
            ..reading(None)
        })
    }

    fn decided(intent: &Intent, view: &View) -> Decision {
        decide(intent, view, &times(), now())
    }

    #[test]
    fn a_preview_tells_the_new_price_the_difference_and_the_restart() {
        let shown = decided(&intent(size(4, 8), None), &seen(resize()));
        assert_eq!(reason(&shown), Reason::AwaitingApproval);
        let told = "cpuCores 2 -> 4, memoryGb 4 -> 8 (HostUp may restart the VM for it) would cost 1.06 SEK/h, \
            0.40 SEK/h more than now (about 773.80 SEK for a month of 730 hours; IPv4 included, traffic excluded)";
        assert!(message(&shown).contains(told), "{}", message(&shown));
        let price = quote_of(&shown).price;
        assert_eq!(price.summary(), "1.06 SEK/h (+0.40)");
        let approved = Approval::from(quote_of(&shown).id);
        let bought = decided(&intent(size(4, 8), Some(approved)), &seen(resize()));
        let Decision::Buy(order) = bought else {
            panic!("{bought:?}");
        };
        assert_eq!(order.path, "/api/v2/vps/vps_1/actions/resize");
        assert_eq!(order.body, r#"{"cpuCores":4,"memoryGb":8}"#);
    }

    #[test]
    fn a_ceiling_covers_the_whole_price_of_an_hour() {
        let bought = |most| decided(&intent(size(4, 8), Some(per_hour(most))), &seen(resize()));
        assert!(matches!(bought("1.06"), Decision::Buy(_)));
        assert_eq!(reason(&bought("1.0599")), Reason::QuoteExceedsCeiling);
        let of_a_change = intent_of(size(4, 8));
        assert_eq!(
            reason(&decided(&of_a_change, &seen(resize()))),
            Reason::QuoteExceedsCeiling
        );
    }

    #[test]
    fn a_smaller_size_goes_by_its_quote_only() {
        let by_ceiling = intent(size(4, 2), Some(per_hour("9")));
        let refused = decided(&by_ceiling, &seen(resize()));
        assert_eq!(reason(&refused), Reason::AwaitingApproval);
        assert!(
            message(&refused).contains("it lowers memoryGb from 4 to 2"),
            "{}",
            message(&refused)
        );
        let by_quote = intent(size(4, 2), Some(Approval::from(quote_of(&refused).id)));
        assert!(matches!(decided(&by_quote, &seen(resize())), Decision::Buy(_)));
    }

    #[test]
    fn a_late_reading_of_the_part_that_need_not_change_is_not_sent_either() {
        let larger = intent(size(4, 4), Some(per_hour("9")));
        let Decision::Buy(order) = decided(&larger, &seen(resize())) else {
            panic!("not bought");
        };
        let mut done = recorded(*order, State::Succeeded);
        done.intent = "intent-2".into();
        done.known.quiet_since = Some(now());
        // It shows 2 cores still, so that 4 -> 2 looks like no change.
        let mut late = seen(resize());
        late.chain.tail = Some(done);
        let with_memory = decided(&intent(size(2, 8), Some(per_hour("9"))), &late);
        assert_eq!(reason(&with_memory), Reason::Converging, "{with_memory:?}");
        let wants_more = decided(&intent(size(8, 4), Some(per_hour("9"))), &late);
        assert_eq!(reason(&wants_more), Reason::Converging, "{wants_more:?}");
        let mut fresh = seen(Resize {
            size: Some(Size { cpu_cores: 4, ..NOW }),
            ..resize()
        });
        fresh.chain.tail = late.chain.tail;
        let lowers = decided(&intent(size(2, 8), Some(per_hour("9"))), &fresh);
        assert!(
            message(&lowers).contains("it lowers cpuCores from 4 to 2"),
            "{lowers:?}"
        );
    }

    #[test]
    fn a_closed_gate_a_used_up_limit_and_a_missing_price_hold_it_back() {
        let approved = |wish| intent(wish, Some(per_hour("9")));
        let with = |change: fn(&mut Resize)| {
            let mut resize = resize();
            change(&mut resize);
            decided(&approved(size(4, 8)), &seen(resize))
        };
        let closed = with(|resize| resize.can_resize = ProviderGate::default());
        assert_eq!(reason(&closed), Reason::GatesClosed);
        assert!(message(&closed).contains("canResize"), "{}", message(&closed));
        let full = with(|resize| resize.remaining.memory_gb = 3);
        assert_eq!(reason(&full), Reason::GatesClosed);
        let told = "limits: 4 GB of memory wanted, 3 left";
        assert!(message(&full).contains(told), "{}", message(&full));
        for unsaid in [
            with(|resize| resize.rates = None),
            with(|resize| resize.size = None),
        ] {
            assert_eq!(reason(&unsaid), Reason::ProviderUnavailable);
        }
        let smaller = decided(
            &intent(size(1, 2), None),
            &seen(Resize {
                remaining: Remaining::default(),
                ..resize()
            }),
        );
        assert_eq!(
            reason(&smaller),
            Reason::AwaitingApproval,
            "what gets smaller needs no room"
        );
    }

    #[test]
    fn each_vps_takes_only_what_is_sold_with_it() {
        let fixed = decided(&intent(size(4, 8), None), &read(reading(None)));
        assert_eq!(reason(&fixed), Reason::NotConfigurable);
        assert!(
            message(&fixed).contains("set spec.resources instead"),
            "{}",
            message(&fixed)
        );
        let options = decided(&intent(wish(), None), &seen(resize()));
        assert_eq!(reason(&options), Reason::NotConfigurable);
        assert!(
            message(&options).contains("set spec.cloudVm instead"),
            "{}",
            message(&options)
        );
    }

    #[test]
    fn a_size_that_is_there_needs_nothing_and_drift_is_told() {
        let in_sync = decided(&intent(size(2, 4), None), &seen(resize()));
        assert_eq!(reason(&in_sync), Reason::InSync);
        let drifted = View {
            seen: Seen::InForce,
            ..seen(resize())
        };
        let told = decided(&intent(size(4, 4), Some(per_hour("9"))), &drifted);
        assert_eq!(reason(&told), Reason::Drifted);
        assert!(
            message(&told).contains("no longer has the size of the spec"),
            "{}",
            message(&told)
        );
    }

    proptest! {
        #[test]
        fn whatever_size_is_wanted_it_is_ordered_whole_at_its_price_and_never_without_consent(
            cpu_cores in 1_u32..=32, memory_gb in 1_u32..=256, has in (1_u32..=32, 1_u32..=256),
            left in (0_u32..40, 0_u32..300), cents in 0_u32..3000, is_open: bool,
        ) {
            let now = Size { cpu_cores: has.0, memory_gb: has.1, ..NOW };
            let most = format!("{}.{:02}", cents / 100, cents % 100);
            let resize = Resize {
                size: Some(now),
                can_resize: ProviderGate { allowed: is_open, ..ProviderGate::default() },
                remaining: Remaining { cpu_cores: left.0, memory_gb: left.1, ..Remaining::default() },
                ..resize()
            };
            let intent = intent(size(cpu_cores, memory_gb), Some(per_hour(&most)));
            let rates = resize.rates.clone().unwrap();
            match decided(&intent, &seen(resize)) {
                Decision::Buy(order) => {
                    let body: Value = serde_json::from_str(&order.body).unwrap();
                    prop_assert_eq!(body, json!({"cpuCores": cpu_cores, "memoryGb": memory_gb}));
                    let then = Size { cpu_cores, memory_gb, ..now };
                    let price = HourlyPrice::of(then, &rates).unwrap();
                    prop_assert!(is_open && price.per_hour <= amount(&most));
                    prop_assert!(cpu_cores >= now.cpu_cores && memory_gb >= now.memory_gb);
                    prop_assert!(cpu_cores - now.cpu_cores <= left.0 && memory_gb - now.memory_gb <= left.1);
                    let Some(Price::Hourly(quoted)) = order.quote.map(|quote| quote.price) else {
                        panic!("another price")
                    };
                    prop_assert_eq!(quoted.per_hour, price.per_hour);
                    let before = HourlyPrice::of(now, &rates).unwrap();
                    prop_assert_eq!(quoted.added, price.per_hour.minus(before.per_hour));
                }
                Decision::Report(report) => prop_assert!(matches!(report.facts, StatusFacts::Shown(_))),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_vm_is_read_before_anything_is_decided() {
        let mut view = seen(resize());
        view.reading = ProviderReading::Unread;
        let decision = decided(&intent(size(4, 8), None), &view);
        assert!(matches!(decision, Decision::ReadOptions));
    }
}
