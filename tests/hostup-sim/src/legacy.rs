//! `POST /api/vm/{vmid}/upgrade`, the older way to change a VPS (its page, "legacy" from here on).
//!
//! The page does not say which value of `send` is the estimate; that `false` is, is assumed, and
//! [`LegacyBehaviour::estimate_executes`] holds the other case. Its answers carry a draft with the
//! client's personal data; here with fakes that tests look for ([`LEGACY_SECRETS`]).

use rust_decimal::Decimal;
use serde_json::Value;

use crate::account::AccountId;
use crate::body::{invalid, members_of};
use crate::clock::iso;
use crate::config::{money, months};
use crate::http::Incoming;
use crate::ledger::{LegacyPurchase, Purchase, PurchaseKind};
use crate::problem::Problem;
use crate::routes::Caller;
use crate::vps::Vps;
use crate::wire::Json;
use crate::world::World;

/// `raw.draft.available_recipients[].password` of every legacy answer.
pub const LEGACY_PASSWORD: &str = "fake-legacy-password-9c41e7";
/// `raw.draft.available_recipients[].reset_token` of every legacy answer.
pub const LEGACY_RESET_TOKEN: &str = "fake-legacy-reset-token-5b20d3";
/// `raw.draft.available_recipients[].cardnum` of every legacy answer.
pub const LEGACY_CARD: &str = "************4707";
/// `raw.draft.available_recipients[].email` of every legacy answer.
pub const LEGACY_EMAIL: &str = "fake-legacy-client@example.com";
/// `raw.draft.available_recipients[].phonenumber` of every legacy answer.
pub const LEGACY_PHONE: &str = "+46700004707";
/// All of them: none may stand in a log, a status or an event.
pub const LEGACY_SECRETS: [&str; 5] = [
    LEGACY_PASSWORD,
    LEGACY_RESET_TOKEN,
    LEGACY_CARD,
    LEGACY_EMAIL,
    LEGACY_PHONE,
];

/// An option of a VPS by its legacy number (`"2231"`).
#[derive(Clone, Debug)]
pub struct LegacyOption {
    /// The number, as text.
    pub id: String,
    /// The current value.
    pub current: Decimal,
    /// Price of a unit in a month.
    pub price: Decimal,
}

impl LegacyOption {
    /// An option.
    ///
    /// # Panics
    /// If a text is no decimal number.
    #[must_use]
    pub fn new(id: &str, current: &str, price: &str) -> LegacyOption {
        LegacyOption {
            id: id.to_owned(),
            current: crate::dec(current),
            price: crate::dec(price),
        }
    }
}

/// The legacy options of the standard source VPS: the number of the page's example, and another.
/// `"2231"` 200 -> 400 costs 100 a month (assumed).
#[must_use]
pub fn standard_legacy_options() -> Vec<LegacyOption> {
    vec![
        LegacyOption::new("2231", "200", "0.5"),
        LegacyOption::new("2404", "7", "10"),
    ]
}

/// How a sum is written (legacy page: `string | number | integer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MoneyAs {
    /// `"-205.26"`
    #[default]
    Text,
    /// `-205.26`
    Number,
    /// `-205`, rounded
    Integer,
}

/// How `orderId` is written (legacy page: `integer | string`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdAs {
    /// `34889`
    #[default]
    Integer,
    /// `"34889"`
    Text,
}

/// How an estimate names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EstimateSays {
    /// `estimate: true`, without `upgraded` (assumed).
    #[default]
    Estimate,
    /// `upgraded: true`, without `estimate`.
    Upgraded,
    /// Both.
    Both,
    /// Neither.
    Neither,
}

/// `raw.draft.currency.iso`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum CurrencyAs {
    /// That of the VPS.
    #[default]
    Own,
    /// Another.
    Other(String),
    /// The whole `currency` is missing.
    Missing,
}

/// How legacy calls go. [`World::legacy`] holds for all of them, [`World::legacy_next`] for one.
#[derive(Clone, Debug)]
pub struct LegacyBehaviour {
    /// Every unit price times this.
    pub price_factor: Decimal,
    /// The part of a cycle that is due now.
    pub prorate: Decimal,
    /// `total` instead of what is computed; may be negative.
    pub total: Option<Decimal>,
    /// How `total` is written.
    pub total_as: MoneyAs,
    /// `raw.draft.currency.iso`
    pub currency: CurrencyAs,
    /// How `orderId` is written.
    pub order_id_as: IdAs,
    /// An estimate answers `draftId`.
    pub draft_id: bool,
    /// `data.success`; false: the call goes as it goes, but says that it failed.
    pub data_success: bool,
    /// `send: false` is carried out like an upgrade (no source proves that it is not).
    pub estimate_executes: bool,
    /// How an estimate names itself.
    pub estimate_says: EstimateSays,
}

impl Default for LegacyBehaviour {
    fn default() -> LegacyBehaviour {
        LegacyBehaviour {
            price_factor: Decimal::ONE,
            prorate: Decimal::ONE,
            total: None,
            total_as: MoneyAs::default(),
            currency: CurrencyAs::default(),
            order_id_as: IdAs::default(),
            draft_id: true,
            data_success: true,
            estimate_executes: false,
            estimate_says: EstimateSays::default(),
        }
    }
}

/// The body, checked.
struct Order {
    send: bool,
    resources: Vec<(String, Decimal)>,
    cycle: Option<String>,
    package: Option<String>,
    draft_id: Option<u64>,
}

/// What it comes to.
struct Sums {
    prorated: Decimal,
    recurring: Decimal,
    total: Decimal,
}

impl World {
    /// How the next legacy call goes that is carried out, estimate or upgrade; called twice, the one
    /// after it, and so on.
    pub fn legacy_next(&mut self, behaviour: LegacyBehaviour) {
        self.next_legacy.push_back(behaviour);
    }

    /// The VPS that an account has under a legacy number.
    #[must_use]
    pub fn vps_by_vmid(&self, account: AccountId, vmid: u64) -> Option<&Vps> {
        let now = self.now();
        let mut own = self.account(account).vps.iter();
        own.find(|vps| vps.vmid == Some(vmid) && vps.visible(now))
    }

    /// The current value of a legacy option.
    ///
    /// # Panics
    /// If the VPS has no such option.
    #[must_use]
    pub fn legacy_option(&self, vps: &str, id: &str) -> Decimal {
        let mut options = self.vps(vps).expect("a VPS").legacy_options.iter();
        options.find(|own| own.id == id).expect("an option").current
    }

    /// `POST /api/vm/{vmid}/upgrade`. Without `act` it is answered as if it had been carried out.
    pub(crate) fn legacy_upgrade(
        &mut self,
        caller: &Caller,
        incoming: &Incoming,
        vmid: &str,
        act: bool,
    ) -> Result<(u16, Json), Problem> {
        let vmid: u64 = vmid
            .parse()
            .ok()
            .filter(|vmid| *vmid > 0)
            .ok_or_else(|| invalid(vec![("/vmid".to_owned(), "vmid must be an integer".to_owned())]))?;
        let vps = self
            .vps_by_vmid(caller.account, vmid)
            .cloned()
            .ok_or_else(|| Problem::new(404, "not_found").detail("Virtual server not found"))?;
        let order = checked_order(&vps, incoming)?;
        let behaviour = self.next_legacy.front().unwrap_or(&self.legacy).clone();
        if act {
            self.next_legacy.pop_front();
        }
        let sums = sums(&vps, &order, &behaviour);
        let (upgraded, estimate) = match (order.send, behaviour.estimate_says) {
            (true, _) | (false, EstimateSays::Upgraded) => (true, false),
            (false, EstimateSays::Estimate) => (false, true),
            (false, EstimateSays::Both) => (true, true),
            (false, EstimateSays::Neither) => (false, false),
        };
        let executes = order.send || behaviour.estimate_executes;
        self.legacy_orders += 1;
        let number = self.legacy_orders;
        let (draft_id, order_id) = (5_256 + number, 34_888 + number);
        if executes && act {
            let legacy = LegacyPurchase {
                vmid,
                was_estimate: !order.send,
                resources: order.resources.clone(),
                cycle: order.cycle.clone(),
                package: order.package.clone(),
                draft_id: order.draft_id,
                total: sums.total,
                currency_code: vps.billing.currency_code.clone(),
                order_id,
            };
            let line = Purchase {
                legacy: Some(legacy),
                ..self.blank_purchase(caller, PurchaseKind::LegacyUpgrade, &vps.id)
            };
            self.ledger.push(line);
            self.set_legacy(&vps.id, &order.resources);
        }
        let told = Told {
            upgraded,
            estimate,
            draft_id,
            order_id,
            order,
            sums,
            behaviour,
        };
        let body = Json::object([
            ("success", true.into()),
            ("timestamp", iso(self.wall()).into()),
            ("requestId", self.ids.uuid().into()),
            ("data", told.data(&vps)),
        ]);
        Ok((200, body))
    }

    fn set_legacy(&mut self, vps: &str, values: &[(String, Decimal)]) {
        let Some(vps) = self.vps_mut(vps) else { return };
        for (id, value) in values {
            for option in vps.legacy_options.iter_mut().filter(|own| own.id == *id) {
                option.current = *value;
            }
        }
    }
}

/// The body's rules (legacy page, "Body"): only `send` is required. That something must be asked
/// for, that a resource must be an option of the VPS, and that unknown members are ignored, is
/// assumed.
fn checked_order(vps: &Vps, incoming: &Incoming) -> Result<Order, Problem> {
    let members = members_of(incoming)?;
    let mut errors = Vec::new();
    let mut refuse = |name: &str, must: &str| errors.push((format!("/{name}"), format!("{name} {must}")));
    let send = members.get("send").and_then(Value::as_bool);
    if send.is_none() {
        refuse("send", "is required and must be a boolean");
    }
    let mut resources = Vec::new();
    match members.get("resources") {
        None => {}
        Some(Value::Object(wanted)) => {
            for (id, value) in wanted {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let known = vps.legacy_options.iter().any(|own| own.id == *id);
                match text.parse() {
                    Ok(value) if known => resources.push((id.clone(), value)),
                    _ => refuse("resources", &format!("has no such option or value: {id}")),
                }
            }
        }
        Some(_) => refuse("resources", "must be an object"),
    }
    let text = |name: &str, refuse: &mut dyn FnMut(&str, &str)| {
        let value = members.get(name)?;
        if value.as_str().is_none() {
            refuse(name, "must be a string");
        }
        value.as_str().map(str::to_owned)
    };
    let cycle = text("cycle", &mut refuse);
    let package = text("package", &mut refuse);
    let draft_id = members.get("draftId").and_then(Value::as_u64);
    if members.contains_key("draftId") && draft_id.is_none() {
        refuse("draftId", "must be an integer");
    }
    if resources.is_empty() && package.is_none() && cycle.is_none() && errors.is_empty() {
        errors.push(("/resources".to_owned(), "Nothing to upgrade".to_owned()));
    }
    match send {
        Some(send) if errors.is_empty() => Ok(Order {
            send,
            resources,
            cycle,
            package,
            draft_id,
        }),
        _ => Err(invalid(errors)),
    }
}

/// `recurring` is the new price of a cycle of the whole service, `prorated` what is due of it now,
/// `total` that less `credits` (read out of the page's example figures; assumed).
fn sums(vps: &Vps, order: &Order, behaviour: &LegacyBehaviour) -> Sums {
    let monthly: Decimal = order
        .resources
        .iter()
        .filter_map(|(id, to)| {
            let option = vps.legacy_options.iter().find(|own| own.id == *id)?;
            Some(to.saturating_sub(option.current).saturating_mul(option.price))
        })
        .fold(Decimal::ZERO, Decimal::saturating_add);
    let cycle = match order.cycle.as_deref() {
        Some("m") => Some("monthly"),
        Some("a") => Some("annually"),
        _ => vps.billing.billing_cycle.as_deref(),
    };
    let change = monthly
        .saturating_mul(behaviour.price_factor)
        .saturating_mul(months(cycle));
    let prorated = money(change.saturating_mul(behaviour.prorate));
    Sums {
        prorated,
        recurring: money(vps.billing.amount.saturating_add(change)),
        total: behaviour.total.unwrap_or(prorated),
    }
}

struct Told {
    upgraded: bool,
    estimate: bool,
    draft_id: u64,
    order_id: u64,
    order: Order,
    sums: Sums,
    behaviour: LegacyBehaviour,
}

impl Told {
    /// `data` of the legacy page: its example for an upgrade, its other members for an estimate.
    fn data(&self, vps: &Vps) -> Json {
        let mut data = Json::object([("success", self.behaviour.data_success.into())]);
        if self.upgraded {
            data.push("upgraded", true.into());
        }
        if self.estimate {
            data.push("estimate", true.into());
        }
        let upgrade_like = self.order.send || self.upgraded;
        let message = if upgrade_like {
            "Upgrade request submitted successfully"
        } else {
            "Upgrade estimate"
        };
        data.push("message", message.into());
        if upgrade_like {
            data.push("orderId", self.order_id());
            data.push("orderNum", self.order_num().into());
            let owes = self.sums.total > Decimal::ZERO;
            if owes {
                data.push("invoiceId", self.invoice().to_string().into());
            }
            let redirect = owes.then(|| format!("/billing?invoice={}", self.invoice()));
            data.push("redirectUrl", redirect.into());
        } else {
            if self.behaviour.draft_id {
                data.push("draftId", self.draft_id.into());
            }
            data.push("credits", 0u32.into());
            data.push("prorated", self.sums.prorated.into());
            data.push("recurring", self.sums.recurring.into());
        }
        data.push("total", self.total());
        data.push("summary", Json::List(Vec::new()));
        data.push("raw", self.raw(vps, upgrade_like));
        data
    }

    fn invoice(&self) -> u64 {
        self.order_id + 14_637
    }

    /// 1693887344 for the first, the page's example.
    fn order_num(&self) -> u64 {
        self.order_id + 1_693_852_455
    }

    fn order_id(&self) -> Json {
        match self.behaviour.order_id_as {
            IdAs::Integer => self.order_id.into(),
            IdAs::Text => self.order_id.to_string().into(),
        }
    }

    fn total(&self) -> Json {
        match self.behaviour.total_as {
            MoneyAs::Text => format!("{:.2}", self.sums.total).into(),
            MoneyAs::Number => self.sums.total.into(),
            MoneyAs::Integer => self.sums.total.round().normalize().into(),
        }
    }

    fn raw(&self, vps: &Vps, upgrade_like: bool) -> Json {
        let call = match (upgrade_like, &self.order.package) {
            (false, _) => "getOrderDraft",
            (true, None) => "orderConfigUpgrade",
            (true, Some(_)) => "orderUpgrade",
        };
        let mut raw = Json::object([
            ("call", Json::word(call)),
            ("success", true.into()),
            ("server_time", 1_768_774_971u32.into()),
        ]);
        if upgrade_like {
            raw.push("order_id", self.order_id.into());
            let owes = self.sums.total > Decimal::ZERO;
            raw.push(
                "checkout",
                Json::object([
                    (
                        "invoice_id",
                        if owes {
                            self.invoice().to_string().into()
                        } else {
                            0u32.into()
                        },
                    ),
                    ("total", self.total()),
                    ("gateway", "16".into()),
                    ("order_id", self.order_id.into()),
                    ("order_num", self.order_num().into()),
                    ("newtotal", format!("{:.2}", self.sums.recurring).into()),
                ]),
            );
            raw.push("info", Json::list(["Function has been scheduled for execution"]));
        }
        raw.push("draft", self.draft(vps));
        raw
    }

    /// The part of the page's `raw.draft` that matters to a client: money, and what must not leak.
    fn draft(&self, vps: &Vps) -> Json {
        let recurring = format!("{:.2}", self.sums.recurring);
        let mut draft = Json::object([
            ("id", self.draft_id.into()),
            ("client_id", 30_000u32.into()),
            ("date", "2026-02-10 00:00:00".into()),
        ]);
        let iso = match &self.behaviour.currency {
            CurrencyAs::Own => Some(&vps.billing.currency_code),
            CurrencyAs::Other(iso) => Some(iso),
            CurrencyAs::Missing => None,
        };
        if let Some(iso) = iso {
            draft.push(
                "currency",
                Json::object([
                    ("id", 0u32.into()),
                    ("iso", iso.into()),
                    ("code", "kr".into()),
                    ("sign", "".into()),
                    ("rate", 1u32.into()),
                    ("decimal", "2".into()),
                    ("rounding", "2".into()),
                    ("rounding_mode", "HALF_UP".into()),
                    ("format", "1 234,56".into()),
                ]),
            );
        }
        draft.push(
            "price",
            Json::object([
                ("cost", format!("{:.2}", self.sums.prorated).into()),
                ("discount", "0.00".into()),
                ("setup", 0u32.into()),
                ("total", format!("{:.2}", self.sums.total).into()),
                ("total_cost", self.sums.prorated.into()),
                ("recurring", Json::object([("m", recurring.into())])),
            ]),
        );
        draft.push("available_recipients", Json::List(vec![recipient()]));
        draft
    }
}

fn recipient() -> Json {
    Json::object([
        ("id", "8918".into()),
        ("group_id", "0".into()),
        ("email", LEGACY_EMAIL.into()),
        ("password", LEGACY_PASSWORD.into()),
        ("firstname", "Anna".into()),
        ("lastname", "Svensson".into()),
        ("phonenumber", LEGACY_PHONE.into()),
        ("address1", "Examplegatan 1".into()),
        ("city", "Stockholm".into()),
        ("country", "SE".into()),
        ("cardnum", LEGACY_CARD.into()),
        ("cardtype", "American Express".into()),
        ("expdate", "02/29".into()),
        ("reset_token", LEGACY_RESET_TOKEN.into()),
        ("reset_expiry", "".into()),
        ("status", "Active".into()),
    ])
}
