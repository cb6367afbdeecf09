//! Payment files against the transactions that record them.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use super::FAILURE;
use crate::{
    approval,
    db::Conn,
    ledger::{
        Center, record,
        verify::{Check, Page, VerifyError},
    },
    proto::{FailPaymentsCommand, JournalRecord, PaymentFileFacts, journal_record::Facts},
};

/// Files are numbered without holes, their bytes have the hash that the journal records, and their payments are settlements that
/// were allowed as the record says, with sums that agree. Remembers the last number.
#[derive(Debug, Default)]
pub struct PaymentsCheck {
    last: i64,
}

impl Check for PaymentsCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            for record in page.records {
                if let Some(Facts::PaymentFile(facts)) = &record.facts {
                    self.file(conn, page, record, facts).await?;
                }
            }
            files(conn, page).await?;
            failures(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            let wrong = sqlx::query_scalar!(
                "select message_no from bank_message where center_id = $1 and sha256(content) <> sha256
                 order by message_no limit 1",
                page.center.no.0,
            )
            .fetch_optional(conn)
            .await?;
            wrong.map_or(Ok(()), |no| {
                Err(page.row_differs("bank_message", no, "its bytes have another hash"))
            })
        }
        .boxed()
    }
}

impl PaymentsCheck {
    async fn file(
        &mut self,
        conn: &mut Conn,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &PaymentFileFacts,
    ) -> Result<(), VerifyError> {
        page.parties(record, &[])?;
        self.last = self.last.saturating_add(1);
        if facts.number != self.last {
            return Err(page.differs(
                record,
                format!("file {} comes after file {}", facts.number, self.last - 1),
            ));
        }
        let stored = sent(conn, page.center, facts.number).await?;
        let (mut told, mut total) = (BTreeMap::new(), Decimal::ZERO);
        for (line, payment) in (1..).zip(&facts.payments) {
            let amount = page.amount(record, &payment.amount)?;
            let sum = total.checked_add(amount);
            total = sum.ok_or_else(|| page.differs(record, "its sum overflows"))?;
            let approval = payment.approval.as_ref().map_or(0, |approval| approval.approval);
            let found = approval::find_in_tx(conn, page.center, approval).await?;
            let allowed = found.filter(approval::Approval::is_approved).map(|found| found.facts());
            if allowed != payment.approval {
                let what = format!("{} was not allowed as it says", payment.end_to_end_id);
                return Err(page.differs(record, what));
            }
            let end_to_end_id = payment.end_to_end_id.clone();
            let (paid, payee) = match payment.refund {
                0 => (payment.settlement, format!("vendors/{}", payment.vendor)),
                refund => (refund, payment.owner.clone()),
            };
            let row = (paid, payee, amount, end_to_end_id, payment.account_version, approval);
            told.insert(line, row);
        }
        if page.amount(record, &facts.total)? != total {
            return Err(page.differs(record, format!("its payments come to {total}, it says {}", facts.total)));
        }
        page.same_rows("settlement_sent", &told, &stored)
    }
}

/// Settlement or refund, payee, amount, end-to-end id, version of the account and approval.
type Line = (i64, String, Decimal, String, i64, i64);

async fn sent(conn: &mut Conn, center: &Center, number: i64) -> sqlx::Result<BTreeMap<i32, Line>> {
    let rows = sqlx::query!(
        r#"select f.line_no as "line_no!", f.seq as "seq!", f.end_to_end_id as "end_to_end_id!",
                  f.account_version as "account_version!", 'vendors/' || s.vendor_id as "payee!", s.total as "total!",
                  a.approval_no as "approval_no!"
           from settlement_sent f
           join settlement s on s.center_id = f.center_id and s.seq = f.seq
           join settlement_approval a on a.center_id = f.center_id and a.seq = f.seq
           join vendor_account v
             on v.center_id = f.center_id and v.vendor_id = s.vendor_id and v.version = f.account_version
           where f.center_id = $1 and f.file_no = $2
           union all
           select f.line_no, f.seq, f.end_to_end_id, p.account_version, p.owner, r.amount, p.approval_no
           from refund_sent f
           join refund_payout p on p.center_id = f.center_id and p.seq = f.seq
           join refund r on r.center_id = f.center_id and r.seq = f.seq
           where f.center_id = $1 and f.file_no = $2"#,
        center.no.0,
        number,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let line = (
                row.seq,
                row.payee,
                row.total,
                row.end_to_end_id,
                row.account_version,
                row.approval_no,
            );
            (row.line_no, line)
        })
        .collect())
}

/// What stood in a file and failed was allowed by others, who were told of that payment; and the record says so.
async fn failures(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select f.end_to_end_id as "end_to_end_id!", e.end_seq as "end_seq!", n.approval_no as "approval_no?"
           from (select center_id, seq, end_seq, 'S' as kind from settlement_end where center_id = $1 and state = 'FAILED'
                 union all
                 select center_id, seq, end_seq, 'R' from refund_leg where center_id = $1 and state = 'FAILED') e
           join (select center_id, seq, end_to_end_id, 'S' as kind from settlement_sent where center_id = $1
                 union all
                 select center_id, seq, end_to_end_id, 'R' from refund_sent where center_id = $1) f
             on f.center_id = e.center_id and f.seq = e.seq and f.kind = e.kind
           left join payment_failure n on n.center_id = e.center_id and n.end_seq = e.end_seq
               and n.end_to_end_id = f.end_to_end_id
           where e.end_seq > $2 and e.end_seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in rows {
        let differs = |what: &str| Err(page.row_differs("payment_failure", &row.end_to_end_id, what));
        let Some(no) = row.approval_no else {
            return differs("it was taken out of a file, and nobody else had allowed it");
        };
        let approval = approval::find_in_tx(conn, page.center, no).await?;
        let Some(approval) = approval.filter(|found| found.is_approved() && found.kind == FAILURE.name) else {
            return differs("what it names has not allowed it");
        };
        let told: FailPaymentsCommand = record::read_canonical(&approval.command)?;
        let mut payments = told.payments.iter();
        if !payments.any(|payment| payment.end_to_end_id == row.end_to_end_id) {
            return differs("what it names was about other payments");
        }
        let ended = page.records.iter().find(|record| record.seq == row.end_seq);
        let says = ended.and_then(|record| match &record.facts {
            Some(Facts::Outcome(facts)) => facts.approval.clone(),
            _ => None,
        });
        if says != Some(approval.facts()) {
            return differs("the record names another approval");
        }
    }
    Ok(())
}

/// The files that are stored, against the records; the hash is that of the bytes.
async fn files(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select file_no, seq, format, file_name, encode(sha256(content), 'hex') as "hash!", sha256(content) = sha256 as "same!",
                  count, total
           from payment_file where center_id = $1 and seq > $2 and seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let row_of = (
            row.seq,
            row.format,
            row.file_name,
            row.hash,
            row.same,
            row.count,
            row.total,
        );
        (row.file_no, row_of)
    });
    let mut told = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::PaymentFile(facts)) = &record.facts {
            let count = i32::try_from(facts.payments.len()).unwrap_or(i32::MAX);
            let total = page.amount(record, &facts.total)?;
            let row = (
                record.seq,
                facts.format.clone(),
                facts.file_name.clone(),
                facts.sha256.clone(),
                true,
                count,
                total,
            );
            told.insert(facts.number, row);
        }
    }
    page.same_rows("payment_file", &told, &stored.collect())
}
