//! Commands that take an ordinary database transaction: settlement, refund, release and what else is rare.
//!
//! The journal's head is locked first, so nothing a decision reads can change, in whatever process. The transaction is then
//! written by the same statement that commits a batch.
//!
//! A command may concern another center's journal as well ([`RareCommand::other`]). Both heads are then locked before anything is
//! read, the lower center's first, whoever asks: so two commands that concern the same two centers wait for each other and never
//! in a circle. What either journal gets is committed by one statement, or not at all.

use std::sync::Arc;

use rust_decimal::Decimal;
use sqlx::{PgConnection, Postgres, Transaction};
use time::Duration;

use super::{
    Answer, LOAD_ROUNDS_MAX, Moment, RareCommand,
    batch::Batch,
    commit::{Held, commit},
    fold::{enter, next_moment},
    rows::Rows,
    state::State,
};
use crate::{
    clock::Clock,
    db::Database,
    ids::{AccountNo, CenterNo, Seq},
    ledger::{Center, Declined, Draft, Outcome, Posted, Request, center, center::Head, outcome},
    money::Amount,
    proto::JournalRecord,
};

/// One journal that the transaction holds, and what it gets.
struct Side {
    center: Center,
    head: Head,
    /// Of its first transaction.
    moment: Moment,
    rules_moved: bool,
    rows: Rows,
    /// What is written to it besides the command's own transaction, in order.
    further: Vec<(Request, Draft)>,
}

impl Side {
    fn new(center: Center, head: Head, clock: &Clock) -> Side {
        let moment = next_moment(&State::new(center.clone(), head), clock);
        Side {
            center,
            head,
            moment,
            rules_moved: false,
            rows: Rows::default(),
            further: Vec::new(),
        }
    }

    /// The moment of one of its transactions, from 0. They are a microsecond apart, so that what belongs together can be dated
    /// before it is written.
    fn moment_of(&self, index: usize) -> Moment {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        Moment {
            seq: Seq(self.moment.seq.0.saturating_add(index)),
            recorded_at: self.moment.recorded_at.saturating_add(Duration::microseconds(index)),
            effective_date: self.moment.effective_date,
        }
    }

    /// Loads what is wanted of this center, as it stands in the transaction.
    async fn state(&self, conn: &mut PgConnection, want: impl Fn(&mut State)) -> Result<State, Declined> {
        let mut state = State::new(self.center.clone(), self.head);
        load(&mut state, conn, want).await?;
        Ok(state)
    }

    /// Numbers what this journal gets, and makes it a batch; the record of the first transaction, if there is one.
    async fn batch(
        self,
        tx: &mut Transaction<'static, Postgres>,
        first: Option<(Request, Draft)>,
    ) -> Result<(Batch, Option<Arc<JournalRecord>>), Declined> {
        let (center, mut state) = (self.center.clone(), State::new(self.center.clone(), self.head));
        let moments: Vec<Moment> = (0..=self.further.len()).map(|index| self.moment_of(index)).collect();
        let old = if self.rules_moved {
            center::touch_rules_in_tx(tx, center.no).await?
        } else {
            self.head
        };
        let mut batch = Batch::new(center.no, old);
        batch.rows = self.rows;
        let mut made = None;
        for ((request, draft), moment) in first.into_iter().chain(self.further).zip(moments) {
            for posting in &draft.postings {
                state.want_account(posting.debit);
                state.want_account(posting.credit);
            }
            state.load(tx).await?;
            let entry = enter(&mut state, &moment, &request, draft)?;
            made.get_or_insert_with(|| entry.record.clone());
            batch.enter(&request, entry, &moment);
        }
        Ok((batch, made))
    }
}

/// Loads what is wanted, round by round: one answer may lead to the next question.
async fn load(state: &mut State, conn: &mut PgConnection, want: impl Fn(&mut State)) -> Result<(), Declined> {
    for _ in 0..LOAD_ROUNDS_MAX {
        want(state);
        if !state.is_wanting() {
            return Ok(());
        }
        state.load(conn).await?;
    }
    want(state);
    if state.is_wanting() {
        return Err(Declined::Broken("a rare command never has what it wants".into()));
    }
    Ok(())
}

/// A transaction in which one rare command reads, decides and writes. The journal stands still meanwhile.
pub struct JournalTx {
    tx: Transaction<'static, Postgres>,
    own: Side,
    other: Option<Side>,
    /// What [`JournalTx::load`] has loaded of the command's own center.
    state: State,
}

impl JournalTx {
    /// The connection, inside the transaction.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The center.
    pub fn center(&self) -> &Center {
        &self.own.center
    }

    /// The number and time the transaction gets unless it is refused.
    pub fn moment(&self) -> Moment {
        self.own.moment
    }

    /// An account's balance, positive on its normal side.
    pub async fn balance(&mut self, no: AccountNo) -> Result<Amount, Declined> {
        let balance: Option<Decimal> = sqlx::query_scalar!(
            "select balance from account_balance where center_id = $1 and account_no = $2",
            self.own.center.no.0,
            no.0,
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let balance = balance.ok_or_else(|| Declined::Broken(format!("account {no} does not exist")))?;
        Ok(Amount::from_decimal(balance, self.own.center.currency)?)
    }

    /// Says that the command changes what other decisions read (a detainee's state, say), so that every lane forgets it.
    pub fn touch_rules(&mut self) {
        self.own.rules_moved = true;
    }

    /// What a lane would know after a command asked for it: so that a rare command decides by the same rooms as those of the hot
    /// path. It is as of this transaction, and goes with it.
    pub async fn known(&mut self, want: impl Fn(&mut State)) -> Result<State, Declined> {
        self.own.state(&mut self.tx, want).await
    }

    /// Rows that domains add to the statement that writes the transaction. Of a refusal nothing is written.
    pub fn rows(&mut self) -> &mut Rows {
        &mut self.own.rows
    }

    /// Loads what `want` asks of the rooms that hot commands decide from; it is called again after each round, as theirs is.
    pub async fn load(&mut self, want: impl Fn(&mut State)) -> Result<(), Declined> {
        load(&mut self.state, &mut self.tx, want).await
    }

    /// What is loaded of the rooms, and the rows that are written with the transaction: what a hot command's `apply` is given.
    pub fn state_and_rows(&mut self) -> (&mut State, &mut Rows) {
        (&mut self.state, &mut self.own.rows)
    }

    /// Writes a further transaction to a center's journal, behind the command's own and those that were added before; the moment
    /// it gets. `center` is the command's own or its other.
    ///
    /// # Errors
    /// [`Declined::Broken`] for a third center.
    pub fn add(&mut self, center: CenterNo, request: Request, draft: Draft) -> Result<Moment, Declined> {
        let is_own = self.own.center.no == center;
        let side = self.side(center)?;
        let moment = side.moment_of(side.further.len() + usize::from(is_own));
        side.further.push((request, draft));
        Ok(moment)
    }

    /// The moment that the next transaction of a center gets that is added.
    ///
    /// # Errors
    /// As [`JournalTx::add`].
    pub fn next_moment(&mut self, center: CenterNo) -> Result<Moment, Declined> {
        let is_own = self.own.center.no == center;
        let side = self.side(center)?;
        Ok(side.moment_of(side.further.len() + usize::from(is_own)))
    }

    /// The rows that domains add to the statement that commits, for a center.
    ///
    /// # Errors
    /// As [`JournalTx::add`].
    pub fn rows_of(&mut self, center: CenterNo) -> Result<&mut Rows, Declined> {
        Ok(&mut self.side(center)?.rows)
    }

    /// What a lane would know of a center, as far as `want` asks for it.
    ///
    /// # Errors
    /// As [`JournalTx::add`]; that it cannot be loaded.
    pub async fn known_of(&mut self, center: CenterNo, want: impl Fn(&mut State)) -> Result<State, Declined> {
        let side = match &self.other {
            Some(other) if other.center.no == center => other,
            _ if self.own.center.no == center => &self.own,
            _ => return Err(stranger(center)),
        };
        side.state(&mut self.tx, want).await
    }

    fn side(&mut self, center: CenterNo) -> Result<&mut Side, Declined> {
        match &mut self.other {
            Some(other) if other.center.no == center => Ok(other),
            _ if self.own.center.no == center => Ok(&mut self.own),
            _ => Err(stranger(center)),
        }
    }
}

fn stranger(center: CenterNo) -> Declined {
    Declined::Broken(format!("the journal of center {center} is not held"))
}

/// Locks the heads of the command's center and its other, the lower number first.
async fn lock(
    tx: &mut Transaction<'static, Postgres>,
    center: &Center,
    other: Option<&Center>,
) -> sqlx::Result<(Head, Option<Head>)> {
    let Some(other) = other.filter(|other| other.no != center.no) else {
        return Ok((center::head(tx, center.no, true).await?, None));
    };
    if other.no < center.no {
        let second = center::head(tx, other.no, true).await?;
        return Ok((center::head(tx, center.no, true).await?, Some(second)));
    }
    let first = center::head(tx, center.no, true).await?;
    Ok((first, Some(center::head(tx, other.no, true).await?)))
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
    let (old, of_other) = lock(&mut tx, center, command.other()).await?;
    let request = command.request();
    if let Some(stored) = outcome::find(&mut tx, center.no, request.id).await? {
        return Ok(stored.answer(request));
    }
    let own = Side::new(center.clone(), old, clock);
    let moment = own.moment;
    let other = command
        .other()
        .zip(of_other)
        .map(|(other, head)| Side::new(other.clone(), head, clock));
    // A savepoint, so that a refusal can roll back what the command wrote and still be stored.
    sqlx::query!("savepoint command").execute(&mut *tx).await?;
    let state = State::new(center.clone(), old);
    let mut journal = JournalTx { tx, own, other, state };
    let decided = command.run(&mut journal).await;
    let JournalTx { mut tx, own, other, .. } = journal;

    let (answer, batches) = match decided {
        Ok(draft) => {
            let (batch, record) = own.batch(&mut tx, Some((request.clone(), draft))).await?;
            let record = record.ok_or_else(|| Declined::Broken("a command without a transaction".into()))?;
            let mut batches = vec![batch];
            if let Some(other) = other {
                batches.push(other.batch(&mut tx, None).await?.0);
            }
            let replayed = false;
            (Outcome::Posted(Posted { record, replayed }), batches)
        }
        Err(Declined::Refused(refusal)) => {
            sqlx::query!("rollback to savepoint command").execute(&mut *tx).await?;
            let mut batch = Batch::new(center.no, old);
            batch.refuse(request, &refusal, &moment);
            let replayed = false;
            (Outcome::Refused { refusal, replayed }, vec![batch])
        }
        Err(broken) => return Err(broken),
    };
    let batches: Vec<&Batch> = batches.iter().collect();
    if commit(&mut tx, &batches, Held::Wait).await?.len() != batches.len() {
        return Err(Declined::Broken("a journal moved although its head is locked".into()));
    }
    tx.commit().await?;
    Ok(Ok(answer))
}
