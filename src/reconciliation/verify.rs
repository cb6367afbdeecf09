//! The fees that bills told against the transactions that recorded them.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    db::Conn,
    ledger::verify::{Check, Owner, Page, VerifyError},
    proto::journal_record::Facts,
};

/// Every recorded fee has its bill entry, and every bill entry with a fee the transaction that recorded it.
#[derive(Debug, Default)]
pub struct FeesCheck;

impl Check for FeesCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        fees(conn, page).boxed()
    }

    fn end<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async { Ok(()) }.boxed()
    }
}

async fn fees(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select fee_seq as "fee_seq!", channel, bill_date, gateway_id, fee from bill_entry
           where center_id = $1 and fee_seq > $2 and fee_seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    // A payment and a refund may have the same number at the gateway, and are then told twice by a record, too.
    let key = |seq: i64, channel: &str, gateway_id: &str| format!("{channel} {gateway_id} of transaction {seq}");
    let mut stored: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for row in rows {
        let entry = (row.bill_date.to_string(), row.fee);
        let key = key(row.fee_seq, &row.channel, &row.gateway_id);
        stored.entry(key).or_default().push(entry);
    }
    let mut explained: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for record in page.records {
        let Some(Facts::GatewayFees(facts)) = &record.facts else {
            continue;
        };
        page.parties(record, &[Owner::channel(&facts.channel)])?;
        for line in &facts.lines {
            // One below zero was given back.
            let fee = match line.amount.strip_prefix('-') {
                Some(given_back) => -page.amount(record, given_back)?,
                None => page.amount(record, &line.amount)?,
            };
            let entry = (facts.bill_date.clone(), fee);
            let key = key(record.seq, &facts.channel, &line.gateway_transaction);
            explained.entry(key).or_default().push(entry);
        }
    }
    stored
        .values_mut()
        .chain(explained.values_mut())
        .for_each(|entries| entries.sort());
    page.same_rows("bill_entry", &explained, &stored)
}
