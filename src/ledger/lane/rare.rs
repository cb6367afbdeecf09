//! Commands that take an ordinary database transaction: settlement, refund, release and what else is rare.
//!
//! The journal's head is locked first, so nothing a decision reads can change, in whatever process. The transaction is then
//! written by the same statement that commits a batch.

use rust_decimal::Decimal;
use sqlx::{PgConnection, Postgres, Transaction};

use super::{
    Answer, LOAD_ROUNDS_MAX, Moment, RareCommand, Rows,
    batch::Batch,
    commit::{Held, commit},
    fold::{enter, next_moment},
    state::State,
};
use crate::{
    clock::Clock,
    db::Database,
    ids::AccountNo,
    ledger::{
        Center, Declined, Draft, Outcome, Posted,
        center::{self, Head},
        outcome,
    },
    money::Amount,
};

/// A transaction in which one rare command reads, decides and writes. The journal stands still meanwhile.
pub struct JournalTx {
    tx: Transaction<'static, Postgres>,
    center: Center,
    head: Head,
    moment: Moment,
    rules_moved: bool,
    state: State,
    rows: Rows,
}

impl JournalTx {
    /// The connection, inside the transaction.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The center.
    pub fn center(&self) -> &Center {
        &self.center
    }

    /// The number and time the transaction gets unless it is refused.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// What a lane would know after a command asked for it: so that a rare command decides by the same rooms as those of the hot
    /// path. It is as of this transaction, and goes with it.
    pub async fn known(&mut self, want: impl Fn(&mut State)) -> Result<State, Declined> {
        let mut state = State::new(self.center.clone(), self.head);
        for _ in 0..LOAD_ROUNDS_MAX {
            want(&mut state);
            if !state.is_wanting() {
                return Ok(state);
            }
            state.load(&mut self.tx).await?;
        }
        Err(Declined::Broken("what is wanted leads to ever more".into()))
    }

    /// Rows that domains add to the statement that writes the transaction. Of a refusal nothing is written.
    pub fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }

    /// An account's balance, positive on its normal side.
    pub async fn balance(&mut self, no: AccountNo) -> Result<Amount, Declined> {
        let balance: Option<Decimal> = sqlx::query_scalar!(
            "select balance from account_balance where center_id = $1 and account_no = $2",
            self.center.no.0,
            no.0,
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let balance = balance.ok_or_else(|| Declined::Broken(format!("account {no} does not exist")))?;
        Ok(Amount::from_decimal(balance, self.center.currency)?)
    }

    /// Loads what `want` asks of the rooms that hot commands decide from; it is called again after each round, as theirs is.
    pub async fn load(&mut self, want: impl Fn(&mut State)) -> Result<(), Declined> {
        for _ in 0..LOAD_ROUNDS_MAX {
            want(&mut self.state);
            if !self.state.is_wanting() {
                return Ok(());
            }
            self.state.load(&mut self.tx).await?;
        }
        want(&mut self.state);
        if self.state.is_wanting() {
            return Err(Declined::Broken("a rare command never has what it wants".into()));
        }
        Ok(())
    }

    /// What is loaded of the rooms, and the rows that are written with the transaction: what a hot command's `apply` is given.
    pub fn state_and_rows(&mut self) -> (&mut State, &mut Rows) {
        (&mut self.state, &mut self.rows)
    }

    /// Says that the command changes what other decisions read (a detainee's state, say), so that every lane forgets it.
    pub fn touch_rules(&mut self) {
        self.rules_moved = true;
    }
}

/// Runs one command to its committed outcome, or to an error after which nothing was committed (unless the connection was
/// lost in the commit itself, which running it again finds out).
pub(super) async fn run(
    database: &Database,
    center: &Center,
    clock: &Clock,
    command: &dyn RareCommand,
) -> Result<Answer, Declined> {
    let mut tx = database.lane.begin().await?;
    let old = center::head(&mut tx, center.no, true).await?;
    let request = command.request();
    if let Some(stored) = outcome::find(&mut tx, center.no, request.id).await? {
        return Ok(stored.answer(request));
    }
    let state = State::new(center.clone(), old);
    let moment = next_moment(&state, clock);
    // A savepoint, so that a refusal can roll back what the command wrote and still be stored.
    sqlx::query!("savepoint command").execute(&mut *tx).await?;
    let mut journal = JournalTx {
        tx,
        center: center.clone(),
        head: old,
        moment,
        rules_moved: false,
        state,
        rows: Rows::default(),
    };
    let decided = command.run(&mut journal).await;
    let JournalTx {
        mut tx,
        rules_moved,
        mut state,
        rows,
        ..
    } = journal;

    let (answer, batch) = match decided {
        Ok(draft) => {
            load(&mut state, &mut tx, &draft).await?;
            let entry = enter(&mut state, &moment, request, draft)?;
            let answer = Outcome::Posted(Posted {
                record: entry.record.clone(),
                replayed: false,
            });
            let old = if rules_moved {
                center::touch_rules_in_tx(&mut tx, center.no).await?
            } else {
                old
            };
            let mut batch = Batch::new(center.no, old);
            batch.rows = rows;
            batch.enter(request, entry, &moment);
            (answer, batch)
        }
        Err(Declined::Refused(refusal)) => {
            sqlx::query!("rollback to savepoint command").execute(&mut *tx).await?;
            let mut batch = Batch::new(center.no, old);
            batch.refuse(request, &refusal, &moment);
            let answer = Outcome::Refused {
                refusal,
                replayed: false,
            };
            (answer, batch)
        }
        Err(broken) => return Err(broken),
    };
    if commit(&mut tx, &[&batch], Held::Wait).await?.is_empty() {
        return Err(Declined::Broken("the journal moved although its head is locked".into()));
    }
    tx.commit().await?;
    Ok(Ok(answer))
}

async fn load(state: &mut State, tx: &mut Transaction<'static, Postgres>, draft: &Draft) -> Result<(), Declined> {
    for posting in &draft.postings {
        state.want_account(posting.debit);
        state.want_account(posting.credit);
    }
    Ok(state.load(tx).await?)
}
