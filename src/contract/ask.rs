//! What two people decide about a vendor's bank account, and what then runs.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{ContractRefusal, entity::Account, request_of, require_vendor, store, subject};
use crate::{
    approval::{self, ApprovalRefusal, Approved, Done, Kind, NewApproval, Question, Runner, VALID},
    db::Conn,
    ids::{RequestId, VendorId},
    ledger::{Center, Lanes, LedgerError, center, record},
    proto::VendorAccountCommand,
};

/// A vendor is paid to an account.
pub const ACCOUNT: Kind = Kind {
    name: "vendor.account",
    title: "change a vendor's bank account",
    title_zh: "变更供应商收款账户",
};

/// May a vendor be paid to an account?
pub(super) struct AccountQuestion {
    pub request: RequestId,
    pub vendor: VendorId,
    pub account: Account,
}

impl AccountQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center, now: OffsetDateTime) -> Result<NewApproval, LedgerError> {
        let (vendor, account) = (&self.vendor, &self.account);
        require_vendor(conn, center, vendor).await?;
        let latest = store::accounts(conn, center.no, vendor, None, 1).await?;
        if latest.first().is_some_and(|latest| latest.account == *account) {
            return Err(ContractRefusal::SameAccount.into());
        }
        // Looked at here, too: whoever is refused must not leave an account behind.
        if let Some(open) = approval::open_in_tx(conn, center, &subject(vendor), now).await? {
            return Err(ApprovalRefusal::Pending { approval: open.no }.into());
        }
        store::insert_asked(conn, center.no, self.request, vendor, account, now).await?;
        let command = VendorAccountCommand {
            vendor: vendor.to_string(),
            request_id: self.request.to_string(),
            holder: account.holder.clone(),
            masked_number: account.masked_number(),
            bank_code: account.bank_code.clone(),
            bank_name: account.bank_name.clone(),
        };
        Ok(NewApproval {
            kind: ACCOUNT.name,
            subject: subject(vendor),
            command: record::canonical(&command),
            summary: format!(
                "Pay vendor {vendor} to account {} of {} at {}.",
                account.masked_number(),
                account.holder,
                account.bank_name
            ),
            amount: None,
            valid: VALID,
        })
    }
}

impl Question for AccountQuestion {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center, now).await.map(Some) }.boxed()
    }
}

/// Makes accounts that were allowed the vendor's.
pub(super) struct AccountRunner(pub Lanes);

impl AccountRunner {
    async fn enter(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: VendorAccountCommand = record::read_canonical(&approved.command)?;
        let vendor = VendorId::parse(&told.vendor).map_err(|error| {
            tracing::error!(%error, "what was allowed names no vendor");
            LedgerError::Internal
        })?;
        let request = request_of(&told.request_id)?;
        let mut tx = self.0.database().lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        let now = self.0.clock().now().max(head.recorded_at);
        store::insert_account(&mut tx, center.no, &vendor, request, approved.facts.approval, now).await?;
        tx.commit().await?;
        tracing::info!(center = %center.id, vendor = %vendor, approval = approved.facts.approval, "bank account entered");
        Ok(Done::NoTransaction)
    }
}

impl Runner for AccountRunner {
    fn kind(&self) -> Kind {
        ACCOUNT
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        self.enter(center, approved).boxed()
    }
}
