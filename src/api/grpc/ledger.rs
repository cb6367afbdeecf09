//! LedgerService: the books as they are, for whoever has to trust them.

use std::pin::Pin;

use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    auth::{actor, until_expired},
    convert::{money, timestamp, typed},
    name::{
        AccountName, AllowanceName, CenterName, CreditReversalName, DebtName, KitGrantName, PurchaseName, RefundName,
        ReleaseName, ReturnName, SettlementName, TransactionName,
    },
    page::{Page, leg_cursor},
    scope,
};
use crate::{
    access::Role,
    api::status::{internal, invalid_field, unavailable},
    custody::Custody,
    db::Reader,
    ids::{AccountNo, RequestId, Seq},
    ledger::{
        self, Center, Code, Lanes, LedgerError, Outcome, Reason, Refusal, account,
        balance::{self, AccountBalance, AsOf},
        outcome,
        proof::{self, Term},
        record,
        statement::{self, Position},
        transaction, watch,
    },
    proto::{
        self, Account, Balance, GetAccountRequest, GetBalanceRequest, GetProofRequest, GetRequestOutcomeRequest,
        GetTransactionRequest, JournalRecord, ListAccountsRequest, ListAccountsResponse, ListPostingsRequest,
        ListPostingsResponse, ListTransactionsRequest, ListTransactionsResponse, Posting, Proof, ProofTerm,
        RequestOutcome, Side, Transaction, TransactionKind, WatchTransactionsRequest, as_of::Point,
        ledger_service_server::LedgerService, request_outcome,
    },
};

/// The service over the lanes.
#[derive(Clone)]
pub struct LedgerApi {
    lanes: Lanes,
    custody: Custody,
    /// Cancelled when the service is to stop.
    stop: CancellationToken,
}

impl LedgerApi {
    /// The service.
    pub fn new(lanes: Lanes, custody: Custody, stop: CancellationToken) -> LedgerApi {
        LedgerApi { lanes, custody, stop }
    }

    async fn reader(&self) -> Result<Reader, Status> {
        self.lanes
            .database()
            .read
            .acquire()
            .await
            .map_err(|error| LedgerError::from(error).into())
    }

    /// The number of an account that exists: an empty answer about one that does not would be taken for the truth.
    async fn existing(&self, center: &Center, name: AccountName<'_>) -> Result<AccountNo, Status> {
        let no = AccountNo(name.account_no);
        let found = account::by_number(&*self.lanes.database().read, center.no, &[no])
            .await
            .map_err(LedgerError::from)?;
        if found.contains_key(&no) {
            Ok(no)
        } else {
            Err(not_found("account", &name.to_string()).into())
        }
    }
}

fn side_out(side: ledger::Side) -> Side {
    match side {
        ledger::Side::Debit => Side::Debit,
        ledger::Side::Credit => Side::Credit,
    }
}

fn as_of_in(as_of: Option<&proto::AsOf>) -> Result<AsOf, Refusal> {
    Ok(match as_of.and_then(|as_of| as_of.point.as_ref()) {
        None => AsOf::Now,
        Some(Point::Seq(seq)) if *seq >= 0 => AsOf::Seq(Seq(*seq)),
        Some(Point::Seq(_)) => return Err(invalid_field("as_of.seq", "must not be negative")),
        Some(Point::Time(time)) => {
            AsOf::Instant(record::instant(time).ok_or_else(|| invalid_field("as_of.time", "is not an instant"))?)
        }
    })
}

fn account_out(held: &AccountBalance, center: &Center) -> Account {
    let code = held.account.code;
    Account {
        name: AccountName {
            center: center.id.as_str(),
            account_no: held.account.no.0,
        }
        .to_string(),
        account_no: held.account.no.0,
        code: i32::from(code.number()),
        code_name: code.account_title().to_owned(),
        side: side_out(code.side()).into(),
        owner: held.account.owner.clone(),
        balance: money(held.balance),
        create_time: timestamp(held.opened_at),
    }
}

fn transaction_out(found: transaction::Transaction, center: &Center) -> Transaction {
    Transaction {
        name: TransactionName {
            center: center.id.as_str(),
            seq: found.record.seq,
        }
        .to_string(),
        record: Some(found.record),
        record_bytes: found.record_bytes,
        leaf_hash: found.leaf_hash,
    }
}

fn posting_out(line: &statement::Line, own: AccountNo, center: &Center) -> Posting {
    let id = center.id.as_str();
    let name = |no: AccountNo| {
        AccountName {
            center: id,
            account_no: no.0,
        }
        .to_string()
    };
    let (own, other) = ((own, line.balance), (line.counterparty, line.counterparty_balance));
    let (debit, credit) = match line.side {
        ledger::Side::Debit => (own, other),
        ledger::Side::Credit => (other, own),
    };
    Posting {
        transaction: TransactionName {
            center: id,
            seq: line.position.seq.0,
        }
        .to_string(),
        seq: line.position.seq.0,
        leg: i32::from(line.position.leg),
        debit: name(debit.0),
        credit: name(credit.0),
        amount: money(line.amount),
        debit_balance: money(debit.1),
        credit_balance: money(credit.1),
        kind: record::kind_of(&line.kind).into(),
        recorded_at: timestamp(line.recorded_at),
        effective_date: line.effective_date.to_string(),
    }
}

fn term_out(term: &Term) -> ProofTerm {
    ProofTerm {
        code: i32::from(term.code.number()),
        code_name: term.code.account_title().to_owned(),
        side: side_out(term.code.side()).into(),
        amount: money(term.sum),
        account_count: i32::try_from(term.accounts).unwrap_or(i32::MAX),
    }
}

/// The resource that a transaction made, if it made one.
fn resource_of(record: &JournalRecord) -> String {
    let (center, seq) = (record.center.as_str(), record.seq);
    match record.kind() {
        TransactionKind::Purchase => PurchaseName { center, seq }.to_string(),
        TransactionKind::Return => ReturnName { center, seq }.to_string(),
        TransactionKind::SettlementClosed => SettlementName { center, seq }.to_string(),
        TransactionKind::RefundRequested => RefundName { center, seq }.to_string(),
        TransactionKind::ReleaseOpened => ReleaseName { center, seq }.to_string(),
        TransactionKind::DebtRecorded => DebtName { center, seq }.to_string(),
        TransactionKind::CreditReversed => CreditReversalName { center, seq }.to_string(),
        TransactionKind::AllowanceReserved => AllowanceName { center, seq }.to_string(),
        TransactionKind::KitGranted => KitGrantName { center, seq }.to_string(),
        _ => TransactionName { center, seq }.to_string(),
    }
}

fn not_found(what: &str, name: &str) -> LedgerError {
    Refusal::because(Reason::NotFound, format!("{what} {name} does not exist"))
        .with_fact(what, name)
        .into()
}

fn outcome_out(id: RequestId, stored: Option<&outcome::Stored>, center: &Center) -> RequestOutcome {
    let mut out = RequestOutcome {
        request_id: id.to_string(),
        ..RequestOutcome::default()
    };
    let Some(stored) = stored else {
        out.set_state(request_outcome::State::NotRecorded);
        return out;
    };
    stored.method().clone_into(&mut out.method);
    match stored.outcome() {
        Outcome::Posted(posted) => {
            out.set_state(request_outcome::State::Succeeded);
            out.seq = posted.record.seq;
            out.transaction = TransactionName {
                center: center.id.as_str(),
                seq: posted.record.seq,
            }
            .to_string();
            out.resource = resource_of(&posted.record);
            out.record_time = posted.record.recorded_at;
        }
        Outcome::Accepted { resource, .. } => {
            out.set_state(request_outcome::State::Succeeded);
            out.resource = format!("centers/{}/{resource}", center.id);
            out.record_time = stored.recorded_at().and_then(timestamp);
        }
        Outcome::Refused { refusal, .. } => {
            out.set_state(request_outcome::State::Refused);
            out.refusal = Some(refusal.clone());
            out.record_time = stored.recorded_at().and_then(timestamp);
        }
    }
    out
}

type TransactionStream = Pin<Box<dyn Stream<Item = Result<Transaction, Status>> + Send>>;

#[tonic::async_trait]
impl LedgerService for LedgerApi {
    async fn get_account(&self, call: Request<GetAccountRequest>) -> Result<Response<Account>, Status> {
        let text = &call.get_ref().name;
        let name = AccountName::parse(text, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let filter = balance::Filter {
            after: AccountNo(name.account_no - 1),
            ..balance::Filter::default()
        };
        let found = balance::list(&mut *self.reader().await?, &center, &filter, 1)
            .await
            .map_err(LedgerError::from)?;
        match found.first() {
            Some(held) if held.account.no.0 == name.account_no => Ok(Response::new(account_out(held, &center))),
            _ => Err(not_found("account", text).into()),
        }
    }

    async fn list_accounts(
        &self,
        call: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let code = match i16::try_from(message.code).ok() {
            Some(0) => None,
            number => Some(
                number
                    .and_then(Code::from_number)
                    .ok_or_else(|| invalid_field("code", "the chart has no such code"))?,
            ),
        };
        let arguments = [
            message.parent.as_str(),
            &message.code.to_string(),
            message.owner.as_str(),
        ];
        let page = Page::read("ListAccounts", &arguments, message.page_size, &message.page_token)?;
        let after = page.after_number()?.map_or(Ok(0), i32::try_from);
        let after = AccountNo(typed(after, "page_token")?);
        let owner = (!message.owner.is_empty()).then(|| message.owner.clone());
        let filter = balance::Filter { after, code, owner };
        let accounts = balance::list(&mut *self.reader().await?, &center, &filter, page.limit())
            .await
            .map_err(LedgerError::from)?;
        let (accounts, next_page_token) = page.finish(accounts, |held| held.account.no.to_string());
        let accounts = accounts.iter().map(|held| account_out(held, &center)).collect();
        Ok(Response::new(ListAccountsResponse {
            accounts,
            next_page_token,
        }))
    }

    async fn get_transaction(&self, call: Request<GetTransactionRequest>) -> Result<Response<Transaction>, Status> {
        let text = &call.get_ref().name;
        let name = TransactionName::parse(text, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let read = &*self.lanes.database().read;
        let found = transaction::get(read, center.no, Seq(name.seq))
            .await
            .map_err(LedgerError::from)?;
        let found = found.ok_or_else(|| not_found("transaction", text))?;
        Ok(Response::new(transaction_out(found, &center)))
    }

    async fn list_transactions(
        &self,
        call: Request<ListTransactionsRequest>,
    ) -> Result<Response<ListTransactionsResponse>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let arguments = [message.parent.as_str(), &message.after_seq.to_string()];
        let page = Page::read("ListTransactions", &arguments, message.page_size, &message.page_token)?;
        let after = Seq(page.after_number()?.unwrap_or(message.after_seq));
        let read = &*self.lanes.database().read;
        let found = transaction::after(read, center.no, after, page.limit())
            .await
            .map_err(LedgerError::from)?;
        let (found, next_page_token) = page.finish(found, |found| found.record.seq.to_string());
        let transactions = found.into_iter().map(|found| transaction_out(found, &center)).collect();
        Ok(Response::new(ListTransactionsResponse {
            transactions,
            next_page_token,
        }))
    }

    async fn list_postings(
        &self,
        call: Request<ListPostingsRequest>,
    ) -> Result<Response<ListPostingsResponse>, Status> {
        let message = call.get_ref();
        let name = AccountName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let page = Page::read(
            "ListPostings",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let after = page.after_leg()?.map(|(seq, leg)| Position { seq: Seq(seq), leg });
        let own = self.existing(&center, name).await?;
        let lines = statement::lines_after(&*self.lanes.database().read, &center, own, after, page.limit())
            .await
            .map_err(LedgerError::from)?;
        let (lines, next_page_token) = page.finish(lines, |line| leg_cursor(line.position.seq.0, line.position.leg));
        let postings = lines.iter().map(|line| posting_out(line, own, &center)).collect();
        Ok(Response::new(ListPostingsResponse {
            postings,
            next_page_token,
        }))
    }

    async fn get_balance(&self, call: Request<GetBalanceRequest>) -> Result<Response<Balance>, Status> {
        let message = call.get_ref();
        let name = AccountName::parse(&message.account, "account")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let as_of = as_of_in(message.as_of.as_ref())?;
        let no = self.existing(&center, name).await?;
        let mut conn = self.reader().await?;
        let seq = balance::resolve(&mut conn, &center, as_of)
            .await
            .map_err(LedgerError::from)?;
        let amounts = balance::at(&mut conn, &center, &[no], seq)
            .await
            .map_err(LedgerError::from)?;
        let amount = amounts.first().copied().ok_or_else(internal)?;
        Ok(Response::new(Balance {
            account: message.account.clone(),
            balance: money(amount),
            as_of_seq: seq.0,
        }))
    }

    async fn get_proof(&self, call: Request<GetProofRequest>) -> Result<Response<Proof>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.center, "center")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let as_of = as_of_in(message.as_of.as_ref())?;
        let mut conn = self.reader().await?;
        let proof = proof::prove(&mut conn, &center, as_of)
            .await
            .map_err(LedgerError::from)?;
        Ok(Response::new(Proof {
            center: message.center.clone(),
            as_of_seq: proof.as_of.0,
            terms: proof.terms.iter().map(term_out).collect(),
            left_total: money(proof.debits),
            right_total: money(proof.credits),
            holds: proof.holds(),
        }))
    }

    async fn get_request_outcome(
        &self,
        call: Request<GetRequestOutcomeRequest>,
    ) -> Result<Response<RequestOutcome>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = typed(RequestId::parse(&message.request_id), "request_id")?;
        let mut conn = self.reader().await?;
        let stored = outcome::find(&mut conn, center.no, id)
            .await
            .map_err(LedgerError::from)?;
        // Whoever asked may know; so may those who read everything. To anyone else it is as if it were not there.
        let reads_all = matches!(actor.role, Role::Admin | Role::Finance | Role::Auditor);
        let visible = stored.filter(|stored| reads_all || stored.actor() == actor.name());
        Ok(Response::new(outcome_out(id, visible.as_ref(), &center)))
    }

    type WatchTransactionsStream = TransactionStream;

    async fn watch_transactions(
        &self,
        call: Request<WatchTransactionsRequest>,
    ) -> Result<Response<TransactionStream>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        if message.after_seq < 0 {
            return Err(invalid_field("after_seq", "must not be negative").into());
        }
        // It has no end of its own. Beyond the token, or when the service stops, the watcher comes again.
        let expired = until_expired(&call, self.lanes.clock().clone())?;
        let stop = self.stop.clone().cancelled_owned();
        let ended = async move {
            tokio::select! {
                expired = expired => expired,
                () = stop => unavailable(),
            }
        };
        let ended = ended.boxed().shared();
        let committed = self.lanes.committed(&center);
        let database = self.lanes.database().clone();
        let stream = watch::follow(database, center.clone(), committed, Seq(message.after_seq))
            .map(move |found| found.map(|found| transaction_out(found, &center)).map_err(Status::from))
            .take_until(ended.clone())
            .chain(ended.map(Err).into_stream());
        Ok(Response::new(Box::pin(stream)))
    }
}
