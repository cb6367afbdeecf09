//! What kinds of movement are called, in English and Chinese.

/// The words of a kind; an unknown one is called by its name.
pub(super) fn of(kind: &str) -> (&str, &str) {
    match kind {
        "PURCHASE" => ("purchase", "消费"),
        "RETURN" => ("return", "退货"),
        "CREDIT" => ("remittance", "汇款上账"),
        "UNMATCHED_CREDITED" => ("money without an order", "无主款入账"),
        "DEBT_RECORDED" => ("advance", "预支"),
        "CREDIT_REVERSED" => ("credit taken back", "冲正"),
        "REFUND_REQUESTED" => ("refund to a payer", "向汇款人退款"),
        "REFUND_FAILED" => ("refund that failed", "退款失败退回"),
        "RELEASE_OPENED" => ("release payout", "出所结清"),
        "RELEASE_FAILED" => ("release payout that came back", "结清退回"),
        "PAYOUT_OPENED" => ("payout", "款项支付"),
        "MADE_UNCLAIMED" => ("kept until it is claimed", "转入未领款"),
        "PAID_TO_TREASURY" => ("paid to the treasury", "上缴财政"),
        "DETAINEES_MERGED" => ("bookings merged", "合并登记"),
        other => (other, other),
    }
}
