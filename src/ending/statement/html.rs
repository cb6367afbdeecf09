//! A statement as HTML that prints well: one page of style, no scripts, nothing fetched.

use std::fmt::Write as _;

use super::{Statement, StatementKey, words};
use crate::ledger::Code;

const STYLE: &str = "\
body{font:11pt/1.4 'Noto Serif','Noto Serif CJK SC','SimSun',serif;margin:2cm;color:#000}\
h1{font-size:16pt;margin:0 0 .2cm}h2{font-size:12pt;margin:.6cm 0 .2cm}\
table{border-collapse:collapse;width:100%}th,td{border:.5pt solid #666;padding:2pt 5pt;text-align:left;vertical-align:top}\
thead{display:table-header-group}tr{break-inside:avoid}.n{text-align:right;white-space:nowrap}\
dl{display:grid;grid-template-columns:auto 1fr;gap:1pt 12pt;margin:0}dd{margin:0}code{font-size:8pt;word-break:break-all}\
@page{size:A4;margin:1.5cm}@media print{body{margin:0}}";

/// A text with what means something in HTML written out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Writing into a text cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn account(code: Code) -> &'static str {
    match code {
        Code::Available => "available 可用",
        Code::Held => "held 冻结",
        Code::Savings => "savings 储备",
        Code::Withheld => "withheld 扣留",
        other => other.title(),
    }
}

fn facts(out: &mut String, statement: &Statement) {
    let (person, center) = (&statement.detainee, &statement.center);
    let name = format!("{} {}", person.name_zh, person.name);
    let (seq, leaf) = &statement.as_of;
    let rows = [
        ("Center 监所", center.id.to_string()),
        ("Custody number 编号", person.id.to_string()),
        ("Name 姓名", name),
        ("State 状态", person.state.name().to_owned()),
        ("Admitted 入所时间", person.admitted_at.to_string()),
        ("Written 出具时间", statement.written_at.to_string()),
        ("Currency 币种", center.currency.code().to_owned()),
        ("Opening balance 期初余额", statement.opening.to_string()),
        ("Closing balance 期末余额", statement.closing.to_string()),
        ("Journal through 截至流水号", seq.to_string()),
        ("Leaf hash 账本哈希", leaf.clone()),
    ];
    out.push_str("<dl>\n");
    for (label, value) in rows {
        put(
            out,
            format_args!("<dt>{label}</dt><dd>{}</dd>\n", escaped(value.trim())),
        );
    }
    out.push_str("</dl>\n");
}

fn movements(out: &mut String, statement: &Statement) {
    out.push_str(
        "<h2>Movements 收支明细</h2>\n<table><thead><tr><th>Date 日期</th><th>No. 流水号</th><th>Kind 类型</th>\
         <th>Account 账户</th><th class=\"n\">In 收入</th><th class=\"n\">Out 支出</th>\
         <th class=\"n\">Balance 余额</th></tr></thead><tbody>\n",
    );
    for line in &statement.movements {
        let (kind, kind_zh) = words::of(&line.kind);
        let shown = |amount: crate::money::Amount| {
            if amount.is_zero() {
                String::new()
            } else {
                amount.to_string()
            }
        };
        put(
            out,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td>{} {}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td></tr>\n",
                line.effective_date,
                line.seq,
                escaped(kind_zh),
                escaped(kind),
                account(line.account),
                shown(line.credited),
                shown(line.debited),
                line.balance
            ),
        );
    }
    out.push_str("</tbody></table>\n");
}

fn totals(out: &mut String, statement: &Statement) {
    out.push_str(
        "<h2>Totals 汇总</h2>\n<table><thead><tr><th>Kind 类型</th><th class=\"n\">Number 笔数</th>\
         <th class=\"n\">In 收入</th><th class=\"n\">Out 支出</th></tr></thead><tbody>\n",
    );
    for (kind, total) in &statement.totals {
        let (kind, kind_zh) = words::of(kind);
        put(
            out,
            format_args!(
                "<tr><td>{} {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                escaped(kind_zh),
                escaped(kind),
                total.count,
                total.credited,
                total.debited
            ),
        );
    }
    out.push_str("</tbody></table>\n");
}

/// Writes a statement.
pub(super) fn write(statement: &Statement, key: &StatementKey) -> String {
    let mut out = String::new();
    let title = format!(
        "Statement of account 账户对账单 {}",
        escaped(statement.detainee.id.as_str())
    );
    put(
        &mut out,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"zh\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
             <body>\n<h1>{title}</h1>\n"
        ),
    );
    facts(&mut out, statement);
    movements(&mut out, statement);
    totals(&mut out, statement);
    put(
        &mut out,
        format_args!(
            "<h2>Signature 签名</h2>\n<p>The last line of this file is its Ed25519 signature by the key below. \
             本文件最后一行为下列公钥的 Ed25519 签名。 Verify 验证: <code>custody statement verify FILE --key {}</code></p>\n\
             </body></html>\n",
            key.public()
        ),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_markup() {
        assert_eq!(
            escaped("<b>&\"O'Neil\"</b>"),
            "&lt;b&gt;&amp;&quot;O&#39;Neil&quot;&lt;/b&gt;"
        );
    }
}
