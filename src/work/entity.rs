//! Kinds of work, their deadlines and ageing, pure.

use std::fmt;

use time::{Duration, OffsetDateTime};

use super::leaving;
use crate::{
    ids::{RequestId, Seq},
    proto::{WorkFacts, WorkKind},
};

/// The id of an item: made of what it is about and when it was raised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId(String);

impl ItemId {
    /// The id that is written.
    pub fn read(text: &str) -> ItemId {
        ItemId(text.to_owned())
    }

    fn of(kind: WorkKind, subject: &str, opened_at: OffsetDateTime) -> ItemId {
        let at = opened_at.unix_timestamp_nanos().to_string();
        let id = RequestId::derived(&["work", kind_name(kind), subject, &at]);
        let digits = id.0.simple().to_string();
        ItemId(format!("W{}", digits.get(..16).unwrap_or(&digits).to_uppercase()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What has to be done from some age on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The age, in hours.
    pub after_hours: i64,
    /// What, in English.
    pub action: &'static str,
    /// What, in Chinese.
    pub action_zh: &'static str,
}

/// What holds for all items of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// In English.
    pub title: &'static str,
    /// In Chinese.
    pub title_zh: &'static str,
    /// 1 is the most urgent, 3 the least.
    pub priority: i16,
    /// How long it may take, in hours, unless whoever raises it says otherwise.
    pub deadline_hours: i64,
    /// Whether people end it by hand. What waits for money ends when the money moves.
    pub by_hand: bool,
    /// What has to be done until when, by its age.
    pub steps: &'static [Step],
}

/// Ageing of money in suspense: day 1 staff, day 3 the payer is contacted, day 7 it goes back.
const SUSPENSE_STEPS: &[Step] = &[
    Step {
        after_hours: 24,
        action: "look for the owner",
        action_zh: "工作人员核查归属",
    },
    Step {
        after_hours: 72,
        action: "contact the payer",
        action_zh: "联系汇款人",
    },
    Step {
        after_hours: 168,
        action: "return it to the payer",
        action_zh: "退回汇款人",
    },
];

/// What becomes of a remittance that nobody released from its review in time.
const HELD_STEPS: &[Step] = &[Step {
    after_hours: 72,
    action: "it is returned to the payer",
    action_zh: "自动退回汇款人",
}];

/// What is done about a refund that the gateway cannot pay.
const REDIRECT_STEPS: &[Step] = &[
    Step {
        after_hours: 0,
        action: "ask the payer for a bank account",
        action_zh: "向汇款人索取银行账户",
    },
    Step {
        after_hours: 24,
        action: "redirect the refund to it, by two people",
        action_zh: "双人复核改退至银行账户",
    },
];

/// The rules of refunds that the bank has to pay.
const REFUND_PAYOUT: Rules = Rules {
    title: "refund that the bank has to pay",
    title_zh: "待银行支付的退款",
    priority: 2,
    deadline_hours: 72,
    by_hand: false,
    steps: &[
        Step {
            after_hours: 0,
            action: "put it into a payment file",
            action_zh: "制作付款文件",
        },
        Step {
            after_hours: 48,
            action: "read the bank's answer, or ask the bank",
            action_zh: "导入银行回单或联系银行",
        },
    ],
};

/// The rules of what a file of the bank's says failed.
const PAYMENT_REJECTED: Rules = Rules {
    title: "payments that the bank says failed",
    title_zh: "银行退回的付款待复核",
    priority: 1,
    deadline_hours: 72,
    by_hand: true,
    steps: &[Step {
        after_hours: 0,
        action: "look at the bank's own screen, and allow or refuse that they are owed again",
        action_zh: "核对网银后复核",
    }],
};

/// Staff hear both sides of a disputed line.
const ORDER_DISPUTE: Rules = Rules {
    title: "disputed line of an order",
    title_zh: "订单争议",
    priority: 2,
    deadline_hours: 72,
    by_hand: false,
    steps: &[Step {
        after_hours: 0,
        action: "hear the detainee and the vendor, and resolve it",
        action_zh: "听取在押人员与供应商意见并裁决",
    }],
};

/// Finance ends what a terminal sold and cannot be posted.
const OFFLINE_SALE: Rules = Rules {
    title: "offline sale that could not be posted",
    title_zh: "离线销售待处理",
    priority: 2,
    deadline_hours: 72,
    by_hand: false,
    steps: &[Step {
        after_hours: 0,
        action: "charge it, have it written off by two people, or dismiss it",
        action_zh: "补扣、双人复核核销或撤销",
    }],
};

/// Somebody looks at what came in a terminal's name and is none of its sales.
const OFFLINE_EVIDENCE: Rules = Rules {
    title: "what a terminal sent is none of its sales",
    title_zh: "终端上传的离线销售无效",
    priority: 1,
    deadline_hours: 24,
    by_hand: true,
    steps: &[Step {
        after_hours: 0,
        action: "find out who changed it, and revoke the terminal if need be",
        action_zh: "查明篡改原因，必要时吊销终端",
    }],
};

/// Somebody gets the numbers that are missing.
const OFFLINE_GAP: Rules = Rules {
    title: "offline sales are missing",
    title_zh: "离线销售缺号",
    priority: 2,
    deadline_hours: 72,
    by_hand: false,
    steps: &[Step {
        after_hours: 24,
        action: "have the terminal send them, or declare them lost",
        action_zh: "让终端补传，或申报丢失",
    }],
};

/// What is done when the bank contradicts itself.
const BANK_STEPS: &[Step] = &[Step {
    after_hours: 24,
    action: "ask the bank whether it paid, and set it right",
    action_zh: "联系银行核实是否付款并处理",
}];

/// Of money that cannot follow a detainee who moved.
const LATE_MONEY: Rules = Rules {
    title: "money that cannot follow a detainee who moved",
    title_zh: "款项无法随转所人员转移",
    priority: 1,
    deadline_hours: 72,
    by_hand: false,
    steps: &[Step {
        after_hours: 0,
        action: "ask the center where the detainee is now, or refund the payer",
        action_zh: "联系在押人员现所在监所，或退回汇款人",
    }],
};

/// Of money that an authority withholds.
const WITHHOLDING: Rules = Rules {
    title: "money withheld by an authority's order",
    title_zh: "依令扣留款",
    priority: 2,
    deadline_hours: 720,
    by_hand: false,
    steps: &[Step {
        after_hours: 0,
        action: "before the order ends: pay the authority, give it back, or have a new order",
        action_zh: "令状到期前：上缴、返还，或取得新令状",
    }],
};

/// What is done when a gateway contradicts our books.
const GATEWAY_STEPS: &[Step] = &[Step {
    after_hours: 24,
    action: "ask the gateway and set it right",
    action_zh: "联系网关核实处理",
}];

/// The rules of a kind.
pub fn rules(kind: WorkKind) -> Rules {
    match kind {
        WorkKind::SuspendedPayment => Rules {
            title: "payment in suspense",
            title_zh: "挂账汇款",
            priority: 2,
            deadline_hours: 168,
            by_hand: false,
            steps: SUSPENSE_STEPS,
        },
        WorkKind::UnmatchedSum => Rules {
            title: "money without an order",
            title_zh: "无主款",
            priority: 2,
            deadline_hours: 168,
            by_hand: false,
            steps: SUSPENSE_STEPS,
        },
        WorkKind::HeldRemittance => Rules {
            title: "remittance held for review",
            title_zh: "待审汇款",
            priority: 2,
            deadline_hours: 72,
            by_hand: false,
            steps: HELD_STEPS,
        },
        WorkKind::AbnormalRefund => Rules {
            title: "refund that the gateway cannot pay",
            title_zh: "退款异常",
            priority: 1,
            deadline_hours: 72,
            by_hand: false,
            steps: REDIRECT_STEPS,
        },
        WorkKind::PaymentContradiction => Rules {
            title: "the bank contradicts what it said of a payment",
            title_zh: "银行付款结果前后矛盾",
            priority: 1,
            deadline_hours: 24,
            by_hand: true,
            steps: BANK_STEPS,
        },
        WorkKind::PaymentRejected => PAYMENT_REJECTED,
        WorkKind::OrderDispute => ORDER_DISPUTE,
        WorkKind::OfflineSale => OFFLINE_SALE,
        WorkKind::OfflineEvidence => OFFLINE_EVIDENCE,
        WorkKind::OfflineGap => OFFLINE_GAP,
        WorkKind::RefundPayout => REFUND_PAYOUT,
        WorkKind::ReleaseRejected => leaving::RELEASE_REJECTED,
        WorkKind::PayoutInTransit => leaving::PAYOUT_IN_TRANSIT,
        WorkKind::UnclaimedSum => leaving::UNCLAIMED_SUM,
        WorkKind::ContactDue => leaving::CONTACT_DUE,
        WorkKind::Estate => leaving::ESTATE,
        WorkKind::LeftOwing => leaving::LEFT_OWING,
        WorkKind::TreasuryDue => leaving::TREASURY_DUE,
        WorkKind::LateMoney => LATE_MONEY,
        WorkKind::Withholding => WITHHOLDING,
        WorkKind::Contradiction | WorkKind::Unspecified => Rules {
            title: "the gateway contradicts our books",
            title_zh: "网关信息不一致",
            priority: 1,
            deadline_hours: 24,
            by_hand: true,
            steps: GATEWAY_STEPS,
        },
    }
}

/// A kind as it is stored, for example `UNMATCHED_SUM`.
pub(super) fn kind_name(kind: WorkKind) -> &'static str {
    let name = kind.as_str_name();
    name.strip_prefix("WORK_KIND_").unwrap_or(name)
}

/// The kind that is stored.
pub(super) fn kind_of(name: &str) -> Option<WorkKind> {
    WorkKind::from_str_name(&format!("WORK_KIND_{name}"))
}

/// What is raised.
#[derive(Debug, Clone, PartialEq)]
pub struct NewItem {
    /// Its id.
    pub id: ItemId,
    /// What kind of work.
    pub kind: WorkKind,
    /// What it is about, relative to the center, for example `unmatchedSums/12`.
    pub subject: String,
    /// What is known.
    pub facts: WorkFacts,
    /// When it is raised.
    pub opened_at: OffsetDateTime,
    /// Until when it has to be done.
    pub deadline_at: OffsetDateTime,
}

impl NewItem {
    /// An item that has the deadline of its kind.
    pub fn new(kind: WorkKind, subject: String, facts: WorkFacts, at: OffsetDateTime) -> NewItem {
        NewItem {
            id: ItemId::of(kind, &subject, at),
            kind,
            subject,
            facts,
            opened_at: at,
            deadline_at: at + Duration::hours(rules(kind).deadline_hours),
        }
    }

    /// Has a deadline of its own, which must be later than it is raised.
    #[must_use]
    pub fn due(mut self, at: OffsetDateTime) -> NewItem {
        self.deadline_at = at.max(self.opened_at + Duration::MICROSECOND);
        self
    }
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemState {
    /// Nobody looks after it.
    Open,
    /// Somebody does.
    Taken,
    /// Done.
    Done,
    /// There was nothing to do.
    Cancelled,
}

impl ItemState {
    /// As legs store it.
    pub const fn name(self) -> &'static str {
        match self {
            ItemState::Open => "OPEN",
            ItemState::Taken => "TAKEN",
            ItemState::Done => "DONE",
            ItemState::Cancelled => "CANCELLED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<ItemState> {
        [ItemState::Taken, ItemState::Done, ItemState::Cancelled]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// Whether nothing becomes of it any more.
    pub const fn is_closed(self) -> bool {
        matches!(self, ItemState::Done | ItemState::Cancelled)
    }
}

/// Something that became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemLeg {
    /// What it came to.
    pub state: ItemState,
    /// When.
    pub at: OffsetDateTime,
    /// Who.
    pub actor: String,
    /// Why or how.
    pub reason: String,
    /// The transaction that ended it, if one did.
    pub seq: Option<Seq>,
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// What kind of work.
    pub kind: WorkKind,
    /// What it is about, relative to the center.
    pub subject: String,
    /// 1 is the most urgent.
    pub priority: i16,
    /// What was known when it was raised.
    pub facts: WorkFacts,
    /// When that was.
    pub opened_at: OffsetDateTime,
    /// Until when it has to be done.
    pub deadline_at: OffsetDateTime,
    /// What became of it, in the order of time.
    pub legs: Vec<ItemLeg>,
}

impl Item {
    /// Where it stands.
    pub fn state(&self) -> ItemState {
        self.legs.last().map_or(ItemState::Open, |leg| leg.state)
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<&ItemLeg> {
        self.legs.last().filter(|leg| leg.state.is_closed())
    }

    /// Who looks after it, if somebody does.
    pub fn taken_by(&self) -> Option<&str> {
        self.legs
            .last()
            .filter(|leg| leg.state == ItemState::Taken)
            .map(|leg| leg.actor.as_str())
    }

    /// Whether it is not done although its deadline is over.
    pub fn is_overdue(&self, now: OffsetDateTime) -> bool {
        !self.state().is_closed() && now >= self.deadline_at
    }

    /// What has to be done, from when, and whether it is time.
    pub fn steps(&self, now: OffsetDateTime) -> Vec<(OffsetDateTime, Step, bool)> {
        let open = !self.state().is_closed();
        rules(self.kind)
            .steps
            .iter()
            .map(|step| {
                let from = self.opened_at + Duration::hours(step.after_hours);
                (from, *step, open && now >= from)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        let at = OffsetDateTime::UNIX_EPOCH;
        let new = NewItem::new(
            WorkKind::UnmatchedSum,
            "unmatchedSums/1".into(),
            WorkFacts::default(),
            at,
        );
        Item {
            id: new.id,
            kind: new.kind,
            subject: new.subject,
            priority: rules(new.kind).priority,
            facts: new.facts,
            opened_at: new.opened_at,
            deadline_at: new.deadline_at,
            legs: Vec::new(),
        }
    }

    fn leg(state: ItemState) -> ItemLeg {
        ItemLeg {
            state,
            at: OffsetDateTime::UNIX_EPOCH,
            actor: "finance/alice".into(),
            reason: String::new(),
            seq: None,
        }
    }

    #[test]
    fn suspense_ages_by_days() {
        let mut item = item();
        let due = |item: &Item, hours| {
            let steps = item.steps(item.opened_at + Duration::hours(hours));
            steps.iter().map(|(.., due)| *due).collect::<Vec<_>>()
        };
        assert_eq!(due(&item, 23), [false, false, false]);
        assert_eq!(due(&item, 24), [true, false, false]);
        assert_eq!(due(&item, 72), [true, true, false]);
        assert_eq!(due(&item, 168), [true, true, true]);
        assert!(!item.is_overdue(item.deadline_at - Duration::MICROSECOND));
        assert!(item.is_overdue(item.deadline_at));
        item.legs.push(leg(ItemState::Done));
        assert!(!item.is_overdue(item.deadline_at));
        assert_eq!(due(&item, 168), [false, false, false]);
    }

    #[test]
    fn an_item_is_taken_and_then_ends() {
        let mut item = item();
        assert_eq!((item.state(), item.taken_by()), (ItemState::Open, None));
        item.legs.push(leg(ItemState::Taken));
        assert_eq!(
            (item.state(), item.taken_by()),
            (ItemState::Taken, Some("finance/alice"))
        );
        item.legs.push(leg(ItemState::Cancelled));
        assert_eq!((item.state(), item.taken_by()), (ItemState::Cancelled, None));
        assert!(item.end().is_some());
    }

    #[test]
    fn every_kind_has_its_name_words_and_deadline() {
        for kind in (1..1000).filter_map(|number| WorkKind::try_from(number).ok()) {
            assert_eq!(kind_of(kind_name(kind)), Some(kind));
            let rules = rules(kind);
            assert!(!rules.title.is_empty() && !rules.title_zh.is_empty() && rules.deadline_hours > 0);
            assert!((1..=3).contains(&rules.priority));
        }
    }

    #[test]
    fn a_deadline_is_never_before_the_item() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let new = NewItem::new(
            WorkKind::Contradiction,
            "remittances/R1".into(),
            WorkFacts::default(),
            at,
        );
        assert!(new.clone().due(at).deadline_at > at);
        assert_ne!(
            new.id,
            NewItem::new(
                new.kind,
                new.subject.clone(),
                WorkFacts::default(),
                at + Duration::MICROSECOND
            )
            .id
        );
    }
}
