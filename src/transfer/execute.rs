//! The move itself: one database transaction that writes both centers' journals.
//!
//! The main pair, TRANSFER_OUT and TRANSFER_IN, carries what is available and saved, and tells what else moves. Each debt and each sum
//! withheld follows by a pair of its own, because both are known by the number of their transaction.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    TransferRefusal as R,
    entity::{Direction, TransferRow, Withholding, WithholdingEnd, with_payers_of},
    posting, store,
    store::WithholdingFilter,
    withhold,
};
use crate::{
    clock,
    commissary::{held_order_in_tx, moving as commissary, spending},
    custody::{self, Detainee, Stay},
    db::Conn,
    distribution::{
        CourtOrder, Debt,
        moving::{self as owing, MovedBy},
    },
    ids::{AccountNo, DetaineeId, RequestId, Seq},
    ledger::{
        Center, Declined, Draft, JournalTx, LedgerError, Moment, Posting, RareCommand, Request, balance, record,
        transaction,
    },
    money::Amount,
    offline_sales,
    payer::{Moving, Payers},
    proto::{
        ApprovalFacts, ElsewhereFacts, LayerFacts, MovedFacts, MovedWithholding, TransactionKind, TransferCommand,
        TransferFacts, journal_record::Facts, moved_facts::What,
    },
    refund::{self, Layers},
};

/// The method that both sides' requests name. No caller can call it.
pub(super) const METHOD: &str = "custody.v1.TransferService/MoveDetainee";
/// The most debts and sums withheld that one transfer moves: each is a transaction in both journals.
const FOLLOWING_MAX: usize = 200;

/// Somebody who can leave a center, with everything that goes with them.
pub(super) struct Leaving {
    pub detainee: Detainee,
    pub available: Amount,
    pub savings: Amount,
    pub withheld: Amount,
    pub orders: Vec<CourtOrder>,
    pub debts: Vec<Debt>,
    pub withholdings: Vec<Withholding>,
}

impl Leaving {
    /// What the accounts hold.
    pub fn total(&self) -> Result<Amount, Declined> {
        Ok(self.available.checked_add(self.savings)?.checked_add(self.withheld)?)
    }
}

/// Looks whether somebody can leave a center as things stand.
///
/// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, DETAINEE_FROZEN, MONEY_IN_FLIGHT while a refund has no outcome, ALLOWANCE_OPEN while a terminal may have
/// sold to them, ORDERS_OPEN, TOO_MUCH_TO_MOVE.
pub(super) async fn leaving_in_tx(
    conn: &mut Conn,
    center: &Center,
    id: &DetaineeId,
    at: OffsetDateTime,
) -> Result<Leaving, Declined> {
    let detainee = custody::active_detainee_in_tx(conn, center, id).await?;
    // What an authority has frozen stays where it is frozen.
    spending::require_not_frozen_in_tx(conn, center, id, at).await?;
    refund::require_none_open_in_tx(conn, center, id).await?;
    offline_sales::require_none_open_in_tx(conn, center, id).await?;
    let (balances, _) = balance::now(&mut *conn, center, &detainee.accounts()).await?;
    let [available, held, savings, withheld] = balances[..] else {
        return Err(Declined::Broken(format!("detainee {id} has not four accounts")));
    };
    // Whatever an order that is not delivered, or is in dispute, has set aside stands there.
    if !held.is_zero() || held_order_in_tx(conn, center.no, id).await?.is_some() {
        return Err(R::OrdersOpen { held }.into());
    }
    let (orders, debts) = owing::owed_in_tx(conn, center, id).await?;
    let filter = WithholdingFilter {
        detainee: Some(id.clone()),
        open: true,
        ..WithholdingFilter::default()
    };
    let mut withholdings = store::withholdings(conn, center, &filter, i64::MAX).await?;
    // As they were withheld.
    withholdings.reverse();
    let (count, most) = (debts.len() + withholdings.len(), FOLLOWING_MAX);
    if count > most {
        return Err(R::TooMuch { count, most }.into());
    }
    Ok(Leaving {
        detainee,
        available,
        savings,
        withheld,
        orders,
        debts,
        withholdings,
    })
}

/// Looks whether the receiving center can receive somebody under a number.
///
/// Errors: TRANSFER_CURRENCY, CUSTODY_NUMBER_TAKEN, INVALID_FIELD for a tier that it does not have.
pub(super) async fn receivable_in_tx(
    conn: &mut Conn,
    from: &Center,
    to: &Center,
    (id, tier): (&DetaineeId, i16),
) -> Result<(), Declined> {
    if from.currency != to.currency {
        let (from, to) = (from.currency, to.currency);
        return Err(R::Currency { from, to }.into());
    }
    if custody::detainee_in_tx(conn, to, id).await?.is_some() {
        let (center, detainee) = (to.id.clone(), id.clone());
        return Err(R::NumberTaken { center, detainee }.into());
    }
    custody::require_tier_in_tx(conn, to.no, tier).await
}

/// A detainee is moved to the center in whose lane this runs.
pub(super) struct MoveDetainee {
    pub request: Request,
    pub command: TransferCommand,
    pub from: Center,
    pub id: DetaineeId,
    pub to_id: DetaineeId,
    pub tier: i16,
    /// Who allowed it in the center that is left, and in the receiving one.
    pub sent: ApprovalFacts,
    pub received: ApprovalFacts,
    pub payers: Payers,
}

/// What both sides of everything that follows the main pair need.
struct Pair<'a> {
    to: &'a Center,
    /// The detainee in both centers.
    before: &'a Detainee,
    detainee: &'a Detainee,
    /// The transactions of the main pair.
    out_seq: Seq,
    in_seq: Seq,
}

impl MoveDetainee {
    fn by(&self, at: OffsetDateTime) -> MovedBy<'_> {
        MovedBy {
            document: &self.command.document,
            actor: &self.request.actor,
            at,
        }
    }

    /// What identifies one of the other transactions: the same each time.
    fn request_of(&self, part: &str) -> Request {
        Request {
            id: RequestId::derived(&["transfer", &self.request.id.to_string(), part]),
            method: METHOD,
            body: self.request.body.clone(),
            actor: self.request.actor.clone(),
        }
    }

    async fn run_in(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (to, from) = (tx.center().clone(), &self.from);
        let (out_at, in_at) = (tx.next_moment(from.no)?, tx.moment());
        let leaving = leaving_in_tx(tx.conn(), from, &self.id, out_at.recorded_at).await?;
        receivable_in_tx(tx.conn(), from, &to, (&self.to_id, self.tier)).await?;
        let mut facts = self.facts(tx, &leaving, (out_at, in_at)).await?;
        let detainee = self.receive(tx, &leaving, &mut facts, (out_at, in_at)).await?;
        let (drafts, total) = (
            self.main_pair(&leaving, &detainee, facts, (out_at, in_at)),
            leaving.total()?,
        );
        let row = |side: Direction| self.row(side, &to, total, (out_at, in_at));
        store::insert_transfer(tx.conn(), from.no, &row(Direction::Out)).await?;
        store::insert_transfer(tx.conn(), to.no, &row(Direction::In)).await?;
        let (out_draft, in_draft) = drafts;
        tx.add(from.no, self.request_of("out"), out_draft)?;
        let pair = Pair {
            to: &to,
            before: &leaving.detainee,
            detainee: &detainee,
            out_seq: out_at.seq,
            in_seq: in_at.seq,
        };
        for debt in &leaving.debts {
            self.move_debt(tx, &pair, debt).await?;
        }
        for withholding in &leaving.withholdings {
            self.move_withholding(tx, &pair, withholding).await?;
        }
        tracing::info!(
            from = %from.id, to = %to.id, detainee = %self.id, received = %self.to_id, "a detainee is transferred"
        );
        Ok(in_draft)
    }

    /// What both sides tell, but for who and where.
    async fn facts(
        &self,
        tx: &mut JournalTx,
        leaving: &Leaving,
        (out_at, in_at): (Moment, Moment),
    ) -> Result<TransferFacts, Declined> {
        let (from, id) = (&self.from, &self.id);
        let month = clock::month_of(in_at.effective_date);
        let since = commissary::counts_since(out_at.effective_date.min(in_at.effective_date));
        let spent = commissary::spent_in_tx(tx.conn(), from, id, since).await?;
        let of_month = spent.iter().filter(|(date, _)| clock::month_of(*date) == month);
        let month_spent = Amount::sum(of_month.map(|(_, amount)| *amount), from.currency)?;
        let available = leaving.detainee.available();
        let layers = Layers::read_in_tx(tx.conn(), from, available, Seq(i64::MAX)).await?;
        let following = leaving.debts.len() + leaving.withholdings.len();
        Ok(TransferFacts {
            document: self.command.document.clone(),
            available: leaving.available.to_string(),
            savings: leaving.savings.to_string(),
            layers: layers.left(tx.conn()).await?,
            month: clock::month_text(month),
            month_spent: month_spent.to_string(),
            spent: commissary::told(&spent),
            court_orders: leaving.orders.iter().map(owing::moved_order).collect(),
            following: i32::try_from(following).unwrap_or(i32::MAX),
            ..TransferFacts::default()
        })
    }

    /// Ends the stay here, begins the one there, and moves what has no posting.
    async fn receive(
        &self,
        tx: &mut JournalTx,
        leaving: &Leaving,
        facts: &mut TransferFacts,
        (out_at, in_at): (Moment, Moment),
    ) -> Result<Detainee, Declined> {
        let (to, from) = (tx.center().clone(), &self.from);
        let (out_by, in_by) = (self.by(out_at.recorded_at), self.by(in_at.recorded_at));
        let told = (in_by.document, in_by.actor, in_by.at);
        let stay = |center: &Center, id: &DetaineeId| Stay {
            center: center.id.clone(),
            detainee: id.clone(),
        };
        let before = stay(from, &self.id);
        let as_whom = (&before, &self.to_id, self.tier);
        let detainee = custody::receive_in_tx(tx.conn(), &to, &leaving.detainee, as_whom, told).await?;
        custody::leave_in_tx(tx.conn(), from.no, &self.id, &stay(&to, &self.to_id)).await?;
        owing::end_orders_in_tx(tx.conn(), from.no, &self.id, &leaving.orders, out_by).await?;
        owing::receive_orders_in_tx(tx.conn(), &to, &self.to_id, &facts.court_orders, in_by).await?;
        let rows = tx.rows_of(to.no)?;
        commissary::receive_spent(rows, &to, &self.to_id, &facts.spent)?;
        let (there, here) = ((from.no, &self.id), (to.no, &self.to_id));
        commissary::move_buyer_in_tx(tx.conn(), there, here, told).await?;
        let moving = Moving {
            from,
            before: &self.id,
            to: &to,
            detainee: &self.to_id,
        };
        let moved = self.payers.move_in_tx(tx.conn(), moving, in_by.actor, in_by.at).await;
        facts.payers = moved.map_err(declined)?;
        facts.layers = with_payers_of(std::mem::take(&mut facts.layers), &facts.payers);
        Ok(detainee)
    }

    /// The drafts of TRANSFER_OUT and TRANSFER_IN.
    fn main_pair(
        &self,
        leaving: &Leaving,
        detainee: &Detainee,
        facts: TransferFacts,
        (out_at, in_at): (Moment, Moment),
    ) -> (Draft, Draft) {
        let moves =
            |account: fn(&Detainee) -> [AccountNo; 4], of: &Detainee, make: fn(AccountNo, Amount) -> Posting| {
                let [available, _, savings, _] = account(of);
                [(available, leaving.available), (savings, leaving.savings)]
                    .into_iter()
                    .filter(|(_, amount)| amount.is_positive())
                    .map(|(account, amount)| make(account, amount))
                    .collect::<Vec<_>>()
            };
        let out_facts = TransferFacts {
            detainee: self.id.to_string(),
            other: Some(elsewhere(&self.command.to_center, &self.to_id, in_at.seq)),
            approval: Some(self.sent.clone()),
            ..facts.clone()
        };
        let in_facts = TransferFacts {
            detainee: self.to_id.to_string(),
            other: Some(elsewhere(self.from.id.as_str(), &self.id, out_at.seq)),
            approval: Some(self.received.clone()),
            ..facts
        };
        (
            Draft::new(
                TransactionKind::TransferOut,
                moves(Detainee::accounts, &leaving.detainee, posting::left),
                Facts::Transfer(out_facts),
            ),
            Draft::new(
                TransactionKind::TransferIn,
                moves(Detainee::accounts, detainee, posting::arrived),
                Facts::Transfer(in_facts),
            ),
        )
    }

    fn row(&self, side: Direction, to: &Center, amount: Amount, (out_at, in_at): (Moment, Moment)) -> TransferRow {
        let (document, from) = (self.command.document.clone(), &self.from);
        match side {
            Direction::Out => TransferRow {
                seq: out_at.seq,
                direction: side,
                detainee: self.id.clone(),
                other_center: to.id.clone(),
                other_detainee: self.to_id.clone(),
                other_seq: in_at.seq,
                document,
                amount,
                approval: self.sent.approval,
                moved_at: out_at.recorded_at,
            },
            Direction::In => TransferRow {
                seq: in_at.seq,
                direction: side,
                detainee: self.to_id.clone(),
                other_center: from.id.clone(),
                other_detainee: self.id.clone(),
                other_seq: out_at.seq,
                document,
                amount,
                approval: self.received.approval,
                moved_at: in_at.recorded_at,
            },
        }
    }

    /// Adds a pair that follows the main one; the moments of its two sides.
    fn follow(
        &self,
        tx: &mut JournalTx,
        pair: &Pair<'_>,
        (of, what, amount): (Seq, What, Amount),
        (out_posting, in_posting): (Posting, Posting),
    ) -> Result<(Moment, Moment), Declined> {
        let (from, to) = (self.from.no, pair.to.no);
        let (out_at, in_at) = (tx.next_moment(from)?, tx.next_moment(to)?);
        let facts = |detainee: &DetaineeId, other: ElsewhereFacts, transfer: Seq| MovedFacts {
            detainee: detainee.to_string(),
            other: Some(other),
            transfer: transfer.0,
            amount: amount.to_string(),
            what: Some(what.clone()),
        };
        let out_facts = facts(
            &self.id,
            elsewhere(&self.command.to_center, &self.to_id, in_at.seq),
            pair.out_seq,
        );
        let in_facts = facts(
            &self.to_id,
            elsewhere(self.from.id.as_str(), &self.id, out_at.seq),
            pair.in_seq,
        );
        let out_draft = Draft::new(TransactionKind::MovedOut, vec![out_posting], Facts::Moved(out_facts));
        let in_draft = Draft::new(TransactionKind::MovedIn, vec![in_posting], Facts::Moved(in_facts));
        tx.add(from, self.request_of(&format!("out {of}")), out_draft.reversing(of))?;
        tx.add(to, self.request_of(&format!("in {of}")), in_draft)?;
        Ok((out_at, in_at))
    }

    async fn move_debt(&self, tx: &mut JournalTx, pair: &Pair<'_>, debt: &Debt) -> Result<(), Declined> {
        let owed = debt.owed()?;
        let told = owing::moved_debt(&self.from, debt);
        let what = (debt.seq, What::Debt(told.clone()), owed);
        let postings = (posting::debt_left(owed), posting::debt_arrived(owed));
        let (_, in_at) = self.follow(tx, pair, what, postings)?;
        owing::move_debt_out_in_tx(tx.conn(), self.from.no, debt).await?;
        let place = (in_at.seq, in_at.recorded_at, pair.in_seq);
        owing::move_debt_in_in_tx(tx.conn(), pair.to, (&self.to_id, owed, &told), place).await
    }

    async fn move_withholding(&self, tx: &mut JournalTx, pair: &Pair<'_>, held: &Withholding) -> Result<(), Declined> {
        let layers = layers_of(tx.conn(), &self.from, pair.before, held).await?;
        let told = MovedWithholding {
            document: held.document.clone(),
            until: Some(record::timestamp(held.until)),
            layers,
        };
        let [_, _, _, out_account] = pair.before.accounts();
        let [_, _, _, in_account] = pair.detainee.accounts();
        let what = (held.seq, What::Withholding(told), held.amount);
        let postings = (
            posting::left(out_account, held.amount),
            posting::arrived(in_account, held.amount),
        );
        let (out_at, in_at) = self.follow(tx, pair, what, postings)?;
        let end = WithholdingEnd {
            seq: out_at.seq,
            has_moved: true,
            paid: Amount::zero(self.from.currency),
            approval: None,
        };
        store::insert_withholding_end(tx.conn(), self.from.no, held.seq, &end).await?;
        withhold::close_item(tx.conn(), self.from.no, held, (&self.request.actor, "moved", out_at)).await?;
        let moved = Withholding {
            seq: in_at.seq,
            detainee: self.to_id.clone(),
            recorded_at: in_at.recorded_at,
            approval: None,
            transfer: Some(pair.in_seq),
            ..held.clone()
        };
        store::insert_withholding(tx.conn(), pair.to.no, &moved).await?;
        Ok(withhold::raise_item(tx.conn(), pair.to.no, &moved).await?)
    }
}

/// Whose money a sum withheld is, oldest first: told when it came from elsewhere, and otherwise whatever layers it was taken from.
pub(super) async fn layers_of(
    conn: &mut Conn,
    center: &Center,
    detainee: &Detainee,
    held: &Withholding,
) -> Result<Vec<LayerFacts>, Declined> {
    if held.transfer.is_none() {
        let layers = Layers::read_in_tx(conn, center, detainee.available(), Seq(i64::MAX)).await?;
        return layers.taken_by(conn, held.seq).await;
    }
    let found = transaction::get(&mut *conn, center.no, held.seq).await?;
    match found.and_then(|found| found.record.facts) {
        Some(Facts::Moved(MovedFacts {
            what: Some(What::Withholding(told)),
            ..
        })) => Ok(told.layers),
        _ => Err(Declined::Broken(format!("withholding {} did not come here", held.seq))),
    }
}

/// The other side, as records tell it.
pub(super) fn elsewhere(center: &str, detainee: &DetaineeId, seq: Seq) -> ElsewhereFacts {
    ElsewhereFacts {
        center: center.to_owned(),
        detainee: detainee.to_string(),
        seq: seq.0,
    }
}

/// A refusal of a verb that is called inside of a command's transaction is the command's own.
pub(super) fn declined(error: LedgerError) -> Declined {
    match error {
        LedgerError::Refused { refusal, .. } => Declined::Refused(refusal),
        error => Declined::Broken(error.to_string()),
    }
}

impl RareCommand for MoveDetainee {
    fn request(&self) -> &Request {
        &self.request
    }

    fn other(&self) -> Option<&Center> {
        Some(&self.from)
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.run_in(tx).boxed()
    }
}
