//! What payers are told of each step of their money's way, in plain words. All of it stands here.

use super::{journey::Stage, returns::REVIEW_TIMED_OUT};
use crate::remittance::{
    BALANCE_CAP_EXCEEDED, BROUGHT_BACK, DETAINEE_GONE, DETAINEE_TRANSFERRED, LegState, PAYMENT_COUNT_EXCEEDED,
    is_screening,
    suspense::{DUPLICATE_PAYMENT, FORWARDED},
};

/// The words for a step, in English and in Chinese.
pub(super) fn of(stage: Stage, reason: &str) -> [&'static str; 2] {
    match stage {
        Stage::Of(state) => of_state(state, reason),
        Stage::Returning => because(
            reason,
            ["The money is on its way back to you.", "款项正在原路退回给您。"],
        ),
        Stage::Returned => ["The money went back to you the way it came.", "款项已原路退回给您。"],
        Stage::PartReturned => [
            "What could not be credited went back to you the way it came.",
            "未能上账的部分已原路退回给您。",
        ],
        Stage::Refunding => [
            "Money that was credited is on its way back to you.",
            "已上账的款项正在退回给您。",
        ],
        Stage::PartRefunded => [
            "Part of the money that was credited went back to you.",
            "已上账的款项已部分退回给您。",
        ],
        Stage::Refunded => ["The whole payment went back to you.", "款项已全部退回给您。"],
        Stage::ReturnFailed => [
            "The payment service could not pay the money back. We are looking after it.",
            "支付机构退款失败，工作人员正在处理。",
        ],
    }
}

fn of_state(state: LegState, reason: &str) -> [&'static str; 2] {
    match state {
        LegState::Created => ["Your remittance is being prepared.", "正在为您生成汇款单。"],
        LegState::Pending => [
            "You can pay now. The amount is reserved for you until the deadline.",
            "现在可以付款，额度为您保留至截止时间。",
        ],
        LegState::Failed => [
            "The payment service did not accept the order. Nothing was paid.",
            "支付机构未接受该订单，未发生付款。",
        ],
        LegState::Expired => [
            "It was not paid in time. If you have paid all the same, the money is credited or goes back.",
            "未在时限内付款。如您已付款，款项将上账或退回。",
        ],
        LegState::Cancelled => [
            "It was cancelled before it was paid. If you have paid all the same, the money is credited or goes back.",
            "汇款已在付款前取消。如您已付款，款项将上账或退回。",
        ],
        LegState::Paid => ["Your payment has arrived.", "已收到您的付款。"],
        LegState::Held => [
            "The payment is being checked. It is released, or goes back to you, by the deadline at the latest.",
            "汇款正在审核，最迟于截止时间放行或退回。",
        ],
        LegState::Suspended => because(
            reason,
            [
                "The payment could not be credited yet. We are looking after it.",
                "汇款暂时无法上账，工作人员正在处理。",
            ],
        ),
        LegState::Released => ["The check is over: the payment was released.", "审核通过，汇款已放行。"],
        LegState::Rejected if reason == REVIEW_TIMED_OUT => [
            "The check did not end in time. The payment goes back to you.",
            "审核未在时限内完成，款项将退回给您。",
        ],
        LegState::Rejected => [
            "The payment was not accepted. It goes back to you.",
            "汇款未获批准，款项将退回给您。",
        ],
        LegState::Credited if reason == FORWARDED => [
            "The detainee has moved to another center. The money is in their account there.",
            "在押人员已转所，款项已转入其新所账户。",
        ],
        LegState::Credited => ["The money is in the detainee's account.", "款项已存入在押人员账户。"],
    }
}

fn because(reason: &str, otherwise: [&'static str; 2]) -> [&'static str; 2] {
    match reason {
        BALANCE_CAP_EXCEEDED => [
            "It is more than the detainee may have. What is over goes back to you.",
            "超出在押人员账户余额上限，超出部分退回给您。",
        ],
        PAYMENT_COUNT_EXCEEDED => [
            "You have paid as often as is accepted in a month. The money goes back to you.",
            "您本月汇款次数已达上限，款项退回给您。",
        ],
        DUPLICATE_PAYMENT => [
            "The order was paid more than once. What was paid again goes back to you.",
            "该订单被重复支付，重复部分退回给您。",
        ],
        DETAINEE_TRANSFERRED => [
            "The detainee has moved to another center. The money is on its way after them.",
            "在押人员已转所，款项正随其转往新所。",
        ],
        BROUGHT_BACK => [
            "The money came back from the center where the detainee is now. It goes back to you.",
            "款项已从在押人员现所在监所转回，将原路退回给您。",
        ],
        "DETAINEE_NOT_ACTIVE" | DETAINEE_GONE => [
            "The detainee is leaving or has left. The money goes back to you unless they stay.",
            "在押人员正在或已经离所，款项将退回给您。",
        ],
        reason if is_screening(reason) => [
            "The payment was not released. It is on its way back to you.",
            "汇款未放行，正在原路退回给您。",
        ],
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_words_of_its_own_in_both_languages() {
        let own = LegState::ALL.map(Stage::Of);
        let back = [
            Stage::Returning,
            Stage::Returned,
            Stage::PartReturned,
            Stage::Refunding,
            Stage::PartRefunded,
            Stage::Refunded,
            Stage::ReturnFailed,
        ];
        let mut told: Vec<[&str; 2]> = own.iter().chain(&back).map(|stage| of(*stage, "")).collect();
        let count = told.len();
        assert!(
            told.iter()
                .all(|[english, chinese]| english.is_ascii() && !chinese.is_ascii())
        );
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), count);
    }
}
