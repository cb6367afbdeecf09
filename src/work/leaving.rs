//! What holds for work about the money of people who leave.

use super::entity::{Rules, Step};

/// What is done about money that nobody collects: contact after 7, 30 and 90 days, the treasury after a year.
const UNCLAIMED_STEPS: &[Step] = &[
    Step {
        after_hours: 7 * 24,
        action: "contact whoever is to have it",
        action_zh: "联系领款人",
    },
    Step {
        after_hours: 30 * 24,
        action: "contact them again",
        action_zh: "再次联系领款人",
    },
    Step {
        after_hours: 90 * 24,
        action: "contact them a third time",
        action_zh: "第三次联系领款人",
    },
    Step {
        after_hours: 365 * 24,
        action: "pay it to the treasury",
        action_zh: "上缴财政",
    },
];

pub(super) const RELEASE_REJECTED: Rules = Rules {
    title: "the bank rejected a release payout",
    title_zh: "出所款项被银行退回",
    priority: 1,
    deadline_hours: 24,
    by_hand: true,
    steps: &[Step {
        after_hours: 0,
        action: "ask for another account and pay again, or keep it until it is claimed",
        action_zh: "更换收款账户重新支付，或转入未领款",
    }],
};

pub(super) const PAYOUT_IN_TRANSIT: Rules = Rules {
    title: "payout on its way",
    title_zh: "款项支付在途",
    priority: 2,
    deadline_hours: 24,
    by_hand: false,
    steps: &[Step {
        after_hours: 24,
        action: "ask the bank what became of it",
        action_zh: "联系银行核实支付结果",
    }],
};

pub(super) const UNCLAIMED_SUM: Rules = Rules {
    title: "money that nobody collected",
    title_zh: "未领款",
    priority: 2,
    deadline_hours: 365 * 24,
    by_hand: false,
    steps: UNCLAIMED_STEPS,
};

pub(super) const CONTACT_DUE: Rules = Rules {
    title: "contact whoever is to have unclaimed money",
    title_zh: "联系领款人",
    priority: 2,
    deadline_hours: 72,
    by_hand: true,
    steps: &[],
};

pub(super) const ESTATE: Rules = Rules {
    title: "money of a person who died, escaped or left",
    title_zh: "死亡、脱逃或离所人员款项",
    priority: 2,
    deadline_hours: 365 * 24,
    by_hand: false,
    steps: UNCLAIMED_STEPS,
};

pub(super) const LEFT_OWING: Rules = Rules {
    title: "a person left and owes the center",
    title_zh: "离所人员欠款",
    priority: 3,
    deadline_hours: 30 * 24,
    by_hand: false,
    steps: &[Step {
        after_hours: 30 * 24,
        action: "write it off, by two people",
        action_zh: "双人复核核销",
    }],
};

pub(super) const TREASURY_DUE: Rules = Rules {
    title: "unclaimed money is the treasury's",
    title_zh: "未领款应上缴财政",
    priority: 1,
    deadline_hours: 30 * 24,
    by_hand: false,
    steps: &[Step {
        after_hours: 0,
        action: "pay it to the treasury, by two people, under its receipt",
        action_zh: "双人复核上缴财政并登记收据号",
    }],
};
