//! Deciding commands one after the other, in memory.

use std::sync::Arc;

use time::Duration;

use super::batch::Batch;
use crate::{
    clock::Clock,
    ids::AccountNo,
    ledger::{
        Command, Declined, Draft, Entry, Moment, Outcome, Posted, Request, Side, State,
        posting::{PostedLeg, may_move_nothing},
        record,
    },
    money::Amount,
};

/// The moment of the next decision.
pub(super) fn next_moment(state: &State, clock: &Clock) -> Moment {
    let recorded_at = clock.now().max(state.recorded_at() + Duration::microseconds(1));
    Moment {
        seq: state.seq().next(),
        recorded_at,
        effective_date: state.center().zone.business_date(recorded_at),
    }
}

/// Decides one command, applies it to the state and adds it to the batch. Gives what the caller is told once the batch is
/// committed. On a refusal the state is untouched. A broken invariant may leave it half changed, so the caller must then drop it.
pub(super) fn fold(
    command: &dyn Command,
    state: &mut State,
    clock: &Clock,
    batch: &mut Batch,
) -> Result<Outcome, Declined> {
    let moment = next_moment(state, clock);
    let request = command.request();
    match command.decide(state, &moment) {
        Ok(draft) => {
            let entry = enter(state, &moment, request, draft)?;
            command.apply(&entry, state, &mut batch.rows)?;
            let record = entry.record.clone();
            batch.enter(request, entry, &moment);
            Ok(Outcome::Posted(Posted {
                record,
                replayed: false,
            }))
        }
        Err(Declined::Refused(refusal)) => {
            batch.refuse(request, &refusal, &moment);
            state.head.rules_version = batch.new.rules_version;
            Ok(Outcome::Refused {
                refusal,
                replayed: false,
            })
        }
        Err(broken) => Err(broken),
    }
}

/// Numbers a draft, moves the balances it touches and writes its record. All balances must be loaded.
pub(super) fn enter(state: &mut State, moment: &Moment, request: &Request, draft: Draft) -> Result<Entry, Declined> {
    if draft.postings.is_empty() && !may_move_nothing(draft.kind) {
        return Err(Declined::Broken("a transaction without a posting".into()));
    }
    let mut legs = Vec::with_capacity(draft.postings.len());
    for posting in &draft.postings {
        if !posting.amount.is_positive() {
            return Err(Declined::Broken("a posting that is not positive".into()));
        }
        let debit_balance = movement(state, posting.debit, Side::Debit, posting.amount)?;
        let credit_balance = movement(state, posting.credit, Side::Credit, posting.amount)?;
        legs.push(PostedLeg {
            posting: *posting,
            debit_balance,
            credit_balance,
        });
    }
    let record = record::build(state.center(), moment.seq, moment, request, draft, &legs);
    let record_bytes = record::encode(&record);
    let leaf_hash = record::leaf_hash(&record_bytes);
    state.head.seq = moment.seq;
    state.head.recorded_at = moment.recorded_at;
    Ok(Entry {
        seq: moment.seq,
        legs,
        record: Arc::new(record),
        record_bytes,
        leaf_hash,
    })
}

fn movement(state: &mut State, no: AccountNo, side: Side, amount: Amount) -> Result<Amount, Declined> {
    let balance = state.balances.get(no)?.after(side, amount)?;
    state.balances.set(no, balance);
    Ok(balance)
}
