//! What two people decide about a sale that waits for finance: that the center pays it.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    sale::{Resolve, Way, payable_in_tx},
    sale_subject,
};
use crate::{
    approval::{Approved, Done, Kind, NewApproval, Question, Runner, VALID, unreadable},
    db::Conn,
    ids::TerminalId,
    ledger::{Center, Lanes, LedgerError, record},
    proto::WriteOffOfflineSaleCommand,
};

/// The center pays for a sale that nobody else pays.
pub const WRITE_OFF: Kind = Kind {
    name: "offline_sale.write_off",
    title: "write an offline sale off",
    title_zh: "离线销售核销",
};

/// The method that the run's request names. No caller can call it.
const METHOD: &str = "custody.v1.OfflineSalesService/WriteOffOfflineSale";

/// May the center pay for a sale?
pub(super) struct WriteOffQuestion {
    pub terminal: TerminalId,
    pub number: i64,
    pub reason: String,
}

impl WriteOffQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let (sale, told) = payable_in_tx(conn, center, &self.terminal, self.number).await?;
        let command = WriteOffOfflineSaleCommand {
            terminal: self.terminal.to_string(),
            number: self.number,
            total: told.total.to_string(),
            reason: self.reason.clone(),
        };
        Ok(NewApproval {
            kind: WRITE_OFF.name,
            subject: sale_subject(&self.terminal, self.number),
            command: record::canonical(&command),
            summary: format!(
                "Pay the vendors {} {} of offline sale {} of terminal {} to detainee {} from the center's own money ({}).",
                told.total, center.currency, self.number, self.terminal, told.detainee, sale.reason
            ),
            amount: Some(told.total),
            valid: VALID,
        })
    }
}

impl Question for WriteOffQuestion {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center).await.map(Some) }.boxed()
    }
}

/// Pays for sales that were allowed to be written off.
pub(super) struct WriteOffRunner(pub Lanes);

impl Runner for WriteOffRunner {
    fn kind(&self) -> Kind {
        WRITE_OFF
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            let told: WriteOffOfflineSaleCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
            let command = Resolve {
                request: approved.request(METHOD),
                terminal: TerminalId::parse(&told.terminal).map_err(unreadable)?,
                number: told.number,
                way: Way::WriteOff(approved.facts),
                reason: told.reason,
            };
            let posted = self.0.submit_rare(center, command).await?;
            Ok(Done::Transaction(posted.seq()))
        }
        .boxed()
    }
}
