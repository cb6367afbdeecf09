//! The words of a receipt, Chinese and English, for a printer of 48 columns.

use serde::{Deserialize, Serialize};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How wide the paper is, in columns; a Chinese character takes two.
const COLUMNS: usize = 48;

/// What stands on a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slip {
    pub center: String,
    pub terminal: String,
    pub detainee: String,
    /// When, in the terminal's zone: the ledger's time, or the terminal's own for a sale without the network.
    pub time: String,
    pub lines: Vec<SlipLine>,
    pub currency: String,
    pub total: String,
    /// What was left of the detainee's money.
    pub available_after: Option<String>,
    /// What of the month's limit was spent, and the limit.
    pub month_spent: Option<String>,
    pub month_limit: Option<String>,
    /// The transaction's number; none for a sale without the network.
    pub transaction: Option<String>,
    /// The hash of the transaction's record, hexadecimal.
    pub leaf_hash: Option<String>,
    /// The request id; none for a sale without the network.
    pub request_id: Option<String>,
    /// Of a sale without the network.
    pub offline: Option<OfflineSlip>,
}

/// One line of goods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlipLine {
    pub product: String,
    pub name: String,
    pub name_zh: String,
    pub quantity: i32,
    pub unit_price: String,
    pub amount: String,
}

/// What makes a sale without the network one of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineSlip {
    /// Its number among the terminal's.
    pub number: u64,
    /// The allowance that it was sold within.
    pub allowance: i64,
    /// What was left of the allowance.
    pub allowance_left: String,
    /// Its hash, to which the next sale is chained; hexadecimal.
    pub chain_hash: String,
}

/// The receipt as it is printed.
pub fn text(slip: &Slip, number: u64, is_copy: bool) -> String {
    let mut paper = Paper(String::new());
    paper.rule('=');
    paper.middle("购物小票 SALES RECEIPT");
    if slip.offline.is_some() {
        paper.middle("离线交易 OFFLINE — 待入账 to be recorded");
    }
    if is_copy {
        paper.middle("*** 副本 COPY ***");
    }
    paper.rule('=');
    paper.sides("监所 Center", &slip.center);
    paper.sides("终端 Terminal", &slip.terminal);
    paper.sides("小票号 Receipt", &number.to_string());
    paper.sides("时间 Time", &slip.time);
    paper.sides("在押人员 Detainee", &slip.detainee);
    paper.rule('-');
    for line in &slip.lines {
        paper.left(format!("{} {}", line.name_zh, line.name).trim());
        let product = fit(&line.product, COLUMNS / 2);
        paper.sides(
            &format!("  {product}  {} × {}", line.quantity, line.unit_price),
            &line.amount,
        );
    }
    paper.rule('-');
    paper.sides("合计 Total", &format!("{} {}", slip.currency, slip.total));
    if let Some(available) = &slip.available_after {
        paper.sides("可用余额 Available", available);
    }
    if let (Some(spent), Some(limit)) = (&slip.month_spent, &slip.month_limit) {
        paper.sides("本月已用 Spent this month", &format!("{spent} / {limit}"));
    }
    paper.rule('-');
    if let Some(offline) = &slip.offline {
        paper.sides("离线序号 Offline number", &offline.number.to_string());
        paper.sides("额度 Allowance", &offline.allowance.to_string());
        paper.sides("额度余额 Left of it", &offline.allowance_left);
        paper.left("链哈希 Chain hash");
        paper.hash(&offline.chain_hash);
    }
    if let Some(transaction) = &slip.transaction {
        paper.sides("交易号 Transaction", transaction);
    }
    if let Some(hash) = &slip.leaf_hash {
        paper.left("记录哈希 Leaf hash");
        paper.hash(hash);
    }
    if let Some(request_id) = &slip.request_id {
        paper.left("请求号 Request");
        paper.sides("", request_id);
    }
    paper.rule('=');
    paper.0
}

struct Paper(String);

impl Paper {
    fn line(&mut self, text: &str) {
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    fn rule(&mut self, sign: char) {
        self.line(&sign.to_string().repeat(COLUMNS));
    }

    fn left(&mut self, text: &str) {
        self.line(&fit(text, COLUMNS));
    }

    fn middle(&mut self, text: &str) {
        let text = fit(text, COLUMNS);
        let before = COLUMNS.saturating_sub(text.width()) / 2;
        self.line(&format!("{}{text}", " ".repeat(before)));
    }

    /// One text to the left and one to the right; on two lines when they do not fit on one.
    fn sides(&mut self, left: &str, right: &str) {
        let right = fit(right, COLUMNS);
        let free = COLUMNS.saturating_sub(left.width() + right.width());
        if free == 0 && !left.is_empty() {
            self.left(left);
            self.sides("", &right);
        } else {
            self.line(&format!("{left}{}{right}", " ".repeat(free)));
        }
    }

    /// A hash in two lines of four times eight.
    fn hash(&mut self, hash: &str) {
        let signs: Vec<char> = hash.chars().collect();
        for half in signs.chunks(32) {
            let groups: Vec<String> = half.chunks(8).map(|group| group.iter().collect()).collect();
            self.line(&format!("  {}", groups.join(" ")));
        }
    }
}

/// As much of a text as fits into so many columns. What could move the paper or its reader is left out.
fn fit(text: &str, columns: usize) -> String {
    let mut fitting = String::new();
    let mut used = 0_usize;
    for sign in text.chars().filter(|sign| !sign.is_control()) {
        used += sign.width().unwrap_or(0);
        if used > columns {
            break;
        }
        fitting.push(sign);
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slip() -> Slip {
        Slip {
            center: "lakeside".into(),
            terminal: "L-T1".into(),
            detainee: "D1001".into(),
            time: "2026-11-24 09:30:15 +08:00".into(),
            lines: vec![
                SlipLine {
                    product: "L101".into(),
                    name: "Instant noodles".into(),
                    name_zh: "方便面".into(),
                    quantity: 2,
                    unit_price: "3.50".into(),
                    amount: "7.00".into(),
                },
                SlipLine {
                    product: "L209".into(),
                    name: "An envelope with a stamp, and with a very long name\u{1b}[2J".into(),
                    name_zh: "信封邮票".into(),
                    quantity: 1,
                    unit_price: "2.40".into(),
                    amount: "2.40".into(),
                },
            ],
            currency: "CNY".into(),
            total: "9.40".into(),
            available_after: Some("240.60".into()),
            month_spent: Some("312.50".into()),
            month_limit: Some("400.00".into()),
            transaction: Some("206".into()),
            leaf_hash: Some("0123456789abcdef".repeat(4)),
            request_id: Some("0190b7e0-0000-7000-8000-000000000001".into()),
            offline: None,
        }
    }

    #[test]
    fn a_receipt_is_aligned_and_says_everything() {
        let expected = "\
================================================
             购物小票 SALES RECEIPT
================================================
监所 Center                             lakeside
终端 Terminal                               L-T1
小票号 Receipt                                17
时间 Time             2026-11-24 09:30:15 +08:00
在押人员 Detainee                          D1001
------------------------------------------------
方便面 Instant noodles
  L101  2 × 3.50                            7.00
信封邮票 An envelope with a stamp, and with a ve
  L209  1 × 2.40                            2.40
------------------------------------------------
合计 Total                              CNY 9.40
可用余额 Available                        240.60
本月已用 Spent this month        312.50 / 400.00
------------------------------------------------
交易号 Transaction                           206
记录哈希 Leaf hash
  01234567 89abcdef 01234567 89abcdef
  01234567 89abcdef 01234567 89abcdef
请求号 Request
            0190b7e0-0000-7000-8000-000000000001
================================================
";
        let printed = text(&slip(), 17, false);
        assert_eq!(printed, expected);
        assert!(printed.lines().all(|line| line.width() <= COLUMNS));
    }

    #[test]
    fn copies_and_sales_without_the_network_say_so() {
        let mut slip = slip();
        assert!(text(&slip, 17, true).contains("*** 副本 COPY ***"));
        (slip.transaction, slip.leaf_hash, slip.request_id) = (None, None, None);
        slip.offline = Some(OfflineSlip {
            number: 3,
            allowance: 7,
            allowance_left: "40.60".into(),
            chain_hash: "ab".repeat(32),
        });
        let printed = text(&slip, 18, false);
        for part in [
            "离线交易 OFFLINE",
            "Offline number                        3\n",
            "Chain hash",
            "abababab abababab",
        ] {
            assert!(printed.contains(part), "{part} is missing in\n{printed}");
        }
        assert!(!printed.contains("COPY") && !printed.contains("Transaction"));
    }
}
