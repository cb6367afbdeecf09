//! What lanes remember of the payments of one payer and for one detainee of late: what the cap, the month's count and screening
//! go by.

mod store;

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::screening::{self, Accepted, Open};
use crate::{
    clock::month_of,
    custody::{
        Settings,
        room::{DetaineeRoom, SettingsRoom, Standing},
    },
    db::{self, Conn},
    ids::{DetaineeId, PayerId, RemittanceId},
    ledger::{Asked, Center, Declined, Room, State},
    money::Amount,
};

/// What was asked for of payers and detainees.
#[derive(Default)]
pub(super) struct PartiesRoom {
    open: Asked<DetaineeId, Vec<Open>>,
    of_payer: Asked<PayerId, Vec<Accepted>>,
    for_detainee: Asked<DetaineeId, Vec<Accepted>>,
}

impl PartiesRoom {
    /// A payment has left what is in flight for its detainee.
    pub fn close(&mut self, detainee: &DetaineeId, remittance: &RemittanceId) {
        if let Some(open) = self.open.get_mut(detainee) {
            open.retain(|other| other.remittance != *remittance);
        }
    }

    /// A payment was accepted, and is held for review if `held` tells how much.
    pub fn accept(&mut self, own: &Accepted, held: Option<Amount>) {
        self.close(&own.detainee, &own.remittance);
        if let (Some(amount), Some(open)) = (held, self.open.get_mut(&own.detainee)) {
            open.push(Open {
                remittance: own.remittance.clone(),
                amount,
                until: None,
            });
        }
        let lists = [
            self.of_payer.get_mut(&own.payer),
            self.for_detainee.get_mut(&own.detainee),
        ];
        for known in lists.into_iter().flatten() {
            known.push(own.clone());
        }
    }
}

impl Room for PartiesRoom {
    fn is_wanting(&self) -> bool {
        self.open.is_wanting() || self.of_payer.is_wanting() || self.for_detainee.is_wanting()
    }
    fn keys(&self) -> usize {
        self.open.count() + self.of_payer.count() + self.for_detainee.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.open.take_wanted();
            if !wanted.is_empty() {
                let mut found = store::open_for(conn, center, &wanted).await?;
                for id in wanted {
                    let open = found.remove(id.as_str()).unwrap_or_default();
                    self.open.learn(id, open);
                }
            }
            let (payers, detainees) = (self.of_payer.take_wanted(), self.for_detainee.take_wanted());
            if !payers.is_empty() || !detainees.is_empty() {
                let found = store::accepted(conn, center.no, &payers, &detainees).await?;
                for id in payers {
                    let own = found.iter().filter(|each| each.payer == id).cloned().collect();
                    self.of_payer.learn(id, own);
                }
                for id in detainees {
                    let own = found.iter().filter(|each| each.detainee == id).cloned().collect();
                    self.for_detainee.learn(id, own);
                }
            }
            Ok(())
        }
        .boxed()
    }
}

/// Asks for what counts against a detainee's cap.
pub(super) fn want_cap(state: &mut State, detainee: &DetaineeId) {
    if let Ok(settings) = state.room_mut::<SettingsRoom>() {
        settings.want();
    }
    if let Ok(parties) = state.room_mut::<PartiesRoom>() {
        parties.open.want(detainee);
    }
    let standing = match state.room_mut::<DetaineeRoom>() {
        Ok(detainees) => detainees.want(detainee),
        Err(_) => None,
    };
    if let Some(standing) = standing {
        state.want_account(standing.available());
        state.want_account(standing.held());
        state.want_account(standing.savings());
    }
}

/// Asks for what the month's count and screening read, unless the center has switched them off.
pub(super) fn want_history(state: &mut State, payer: &PayerId, detainee: &DetaineeId) {
    // Asked again once the settings are loaded.
    let Ok(settings) = state.room::<SettingsRoom>().and_then(SettingsRoom::get) else {
        return;
    };
    let (of_payer, for_detainee) = needed(settings);
    if let Ok(parties) = state.room_mut::<PartiesRoom>() {
        if of_payer {
            parties.of_payer.want(payer);
        }
        if for_detainee {
            parties.for_detainee.want(detainee);
        }
    }
}

/// Whether the rules read a payer's history, and a detainee's.
fn needed(settings: &Settings) -> (bool, bool) {
    let rules = settings.screening;
    let of_payer = [settings.payment_count_max, rules.payment_max, rules.detainee_max];
    (
        of_payer.iter().any(|most| *most != Settings::UNLIMITED),
        rules.payer_max != Settings::UNLIMITED,
    )
}

/// The accepted payments of a payer and for a detainee, as far as the rules read them.
pub(super) fn history<'s>(
    state: &'s State,
    payer: &PayerId,
    detainee: &DetaineeId,
) -> Result<(&'s [Accepted], &'s [Accepted]), Declined> {
    let parties = state.room::<PartiesRoom>()?;
    let (of_payer, for_detainee) = needed(state.room::<SettingsRoom>()?.get()?);
    let known = |is_needed: bool, list: Option<&'s Vec<Accepted>>| match list {
        Some(list) => Ok(list.as_slice()),
        None if is_needed => Err(Declined::Broken(format!("what {payer} paid is not loaded"))),
        None => Ok(&[][..]),
    };
    Ok((
        known(of_payer, parties.of_payer.get(payer))?,
        known(for_detainee, parties.for_detainee.get(detainee))?,
    ))
}

/// What is reserved for a detainee at a moment, in the caller's transaction.
pub(super) async fn in_flight_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &DetaineeId,
    now: OffsetDateTime,
) -> db::Result<Amount> {
    let open = store::open_for(conn, center, std::slice::from_ref(detainee)).await?;
    let zero = Amount::zero(center.currency);
    let open = open.into_values().flatten().collect::<Vec<Open>>();
    screening::in_flight(&open, None, zero, now).map_err(db::decoding)
}

/// How many payments a payer has in the month of a moment, those that can still be paid among them.
pub(super) async fn payments_in_tx(
    conn: &mut Conn,
    center: &Center,
    payer: &PayerId,
    now: OffsetDateTime,
) -> db::Result<i64> {
    let month = |at| month_of(center.zone.business_date(at));
    let accepted = store::accepted(conn, center.no, std::slice::from_ref(payer), &[]).await?;
    let accepted = accepted
        .iter()
        .filter(|each| month(each.ordered_at) == month(now))
        .count();
    let open = store::open_of_payer(conn, center.no, payer, now).await?;
    Ok(open.saturating_add(i64::try_from(accepted).unwrap_or(i64::MAX)))
}

/// How much of a payment the cap lets in at a moment. What is reserved for its own remittance, if it has one, is not counted twice.
pub(super) fn accepted(
    state: &State,
    detainee: &DetaineeId,
    standing: &Standing,
    own: Option<&RemittanceId>,
    amount: Amount,
    now: OffsetDateTime,
) -> Result<Amount, Declined> {
    let cap = state.room::<SettingsRoom>()?.get()?.balance_cap;
    let open = state.room::<PartiesRoom>()?.open.get(detainee);
    let open = open.ok_or_else(|| Declined::Broken(format!("what is in flight for {detainee} is not loaded")))?;
    let zero = Amount::zero(amount.currency());
    let in_flight = screening::in_flight(open, own, zero, now)?;
    let mut balance = zero;
    for account in [standing.available(), standing.held(), standing.savings()] {
        balance = balance.checked_add(state.balance(account)?)?;
    }
    Ok(screening::accepted(amount, cap, balance, in_flight)?)
}
