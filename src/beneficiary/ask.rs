//! What two people decide about a payer's or detainee's bank account, and what then runs.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    BeneficiaryRefusal as R, Owner,
    entity::is_holder,
    store::{self, NewAccount},
};
use crate::{
    approval::{self, ApprovalRefusal, Approved, Done, Kind, NewApproval, Question, Runner, VALID, unreadable},
    contract::Account,
    custody,
    db::Conn,
    ids::RequestId,
    ledger::{Center, Lanes, LedgerError, center, record},
    payer::{self, Payers},
    proto::BankAccountCommand,
};

/// Money goes to an account.
pub const ACCOUNT: Kind = Kind {
    name: "bank_account.verify",
    title: "verify the bank account of a payer or detainee",
    title_zh: "核实收款人银行账户",
};

/// Is it the account of its owner?
pub(super) struct AccountQuestion {
    pub request: RequestId,
    pub payers: Payers,
    pub owner: Owner,
    pub account: Account,
}

/// What an approval shows of an account.
pub(super) fn command_of(owner: &str, request: RequestId, account: &NewAccount<'_>) -> BankAccountCommand {
    BankAccountCommand {
        owner: owner.to_owned(),
        request_id: request.to_string(),
        holder: account.holder.to_owned(),
        masked_number: account.masked.to_owned(),
        bank_code: account.bank_code.to_owned(),
        bank_name: account.bank_name.to_owned(),
    }
}

impl AccountQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center, now: OffsetDateTime) -> Result<NewApproval, LedgerError> {
        let (subject, account) = (self.owner.to_string(), &self.account);
        self.require_own(conn, center).await?;
        // Looked at here, too: whoever is refused must not leave an account behind.
        if let Some(open) = approval::open_in_tx(conn, center, &subject, now).await? {
            return Err(ApprovalRefusal::Pending { approval: open.no }.into());
        }
        let sealed = self
            .payers
            .seal_number_in_tx(conn, center, &subject, &account.number, now)
            .await?;
        let masked = account.masked_number();
        let new = NewAccount {
            holder: &account.holder,
            masked: &masked,
            sealed: (&sealed.0, &sealed.1),
            bank_code: &account.bank_code,
            bank_name: &account.bank_name,
        };
        store::insert_asked(conn, center.no, self.request, &subject, &new, now).await?;
        Ok(NewApproval {
            kind: ACCOUNT.name,
            command: record::canonical(&command_of(&subject, self.request, &new)),
            summary: format!(
                "Pay {subject} to account {masked} of {} at {}.",
                account.holder, account.bank_name
            ),
            subject,
            amount: None,
            valid: VALID,
        })
    }

    async fn require_own(&self, conn: &mut Conn, center: &Center) -> Result<(), LedgerError> {
        let names = names_of(conn, center, &self.owner).await?;
        if is_holder(&self.account.holder, &names) {
            return Ok(());
        }
        let owner = self.owner.to_string();
        Err(R::HolderDiffers { owner }.into())
    }
}

/// The names that an owner is registered under.
///
/// Errors: NOT_FOUND.
pub(super) async fn names_of(conn: &mut Conn, center: &Center, owner: &Owner) -> Result<Vec<String>, LedgerError> {
    let names = match owner {
        Owner::Payer(id) => payer::name_in_tx(conn, center, id).await?.map(|name| vec![name]),
        Owner::Detainee(id) => {
            let found = custody::detainee_in_tx(conn, center, id).await?;
            found.map(|found| vec![found.name, found.name_zh])
        }
    };
    let owner = owner.to_string();
    names.ok_or_else(|| R::OwnerNotFound { owner }.into())
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

/// Makes accounts that were verified their owners'.
pub(super) struct AccountRunner(pub Lanes);

impl AccountRunner {
    async fn enter(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: BankAccountCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let request = RequestId::parse(&told.request_id).map_err(unreadable)?;
        let mut tx = self.0.database().lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        let now = self.0.clock().now().max(head.recorded_at);
        store::insert_account(&mut tx, center.no, &told.owner, request, approved.facts.approval, now).await?;
        tx.commit().await?;
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
