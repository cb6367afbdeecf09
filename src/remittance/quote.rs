//! The quote of a remittance: who may pay how much to whom, and the headroom that is reserved for it.
//!
//! Whatever is refused or repeated locks nothing and moves no rules: what lanes know stays known, however often somebody asks for
//! what they cannot have. Only a quote that is accepted takes headroom, which is something that lanes have read; it locks the
//! journal's head, decides again, and has every lane forget.

use time::{Duration, OffsetDateTime};

use super::{
    NewRemittance, Remittances,
    create::leg,
    entity::{self, LegState, Remittance, remittance_id},
    error::RemittanceRefusal as R,
    parties, store,
};
use crate::{
    custody::{self, CustodyRefusal, Detainee, DetaineeState, Settings},
    db::Conn,
    distribution,
    ids::RemittanceId,
    ledger::{
        Center, Code, Command, Declined, Draft, Entry, LedgerError, Moment, Outcome, Refusal, Request, Rows, State,
        account, balance,
        center::{self, Head},
        outcome::{self, Stored},
        record,
    },
    money::Amount,
    payer::{self, PayerRefusal},
    proto::CreditFacts,
};

/// The most orders of one payer's that may come to nothing in a day, because they were cancelled or the gateway refused them.
const VAIN_ORDERS_MAX: i64 = 50;
/// The day that they are counted in.
const VAIN_ORDERS_WITHIN: Duration = Duration::DAY;

/// Where a remittance stands below its center, as the outcome of its request names it.
const COLLECTION: &str = "remittances/";

fn remittance_of(resource: &str) -> Result<RemittanceId, LedgerError> {
    let id = resource.strip_prefix(COLLECTION).map(RemittanceId::parse);
    id.and_then(Result::ok).ok_or_else(|| {
        tracing::error!(resource, "a request's outcome is no remittance");
        LedgerError::Internal
    })
}

/// What a request made, or why it was refused before; marked as a repetition.
fn told(stored: &Stored, request: &Request) -> Result<RemittanceId, LedgerError> {
    match stored.answer(request)? {
        Outcome::Accepted { resource, .. } => remittance_of(&resource),
        Outcome::Refused { refusal, .. } => Err(LedgerError::Refused {
            refusal,
            replayed: true,
        }),
        Outcome::Posted(_) => Err(LedgerError::Internal),
    }
}

impl Remittances {
    /// The request's one outcome; the second value tells that it is a repetition.
    pub(super) async fn accept(
        &self,
        center: &Center,
        new: &NewRemittance,
    ) -> Result<(RemittanceId, bool), LedgerError> {
        let decided = match self.look_at(center, new).await {
            Ok(None) => self.reserve(center, new).await,
            Ok(Some(id)) => return Ok((id, true)),
            Err(error) => Err(error),
        };
        match decided {
            Err(LedgerError::Refused {
                refusal,
                replayed: false,
            }) => self.refuse(center, &new.request, refusal).await,
            decided => decided,
        }
    }

    /// What the request made before, or else whether it would be accepted, at one moment of the journal. Nothing is locked.
    async fn look_at(&self, center: &Center, new: &NewRemittance) -> Result<Option<RemittanceId>, LedgerError> {
        let mut tx = self.lanes.database().lane.snapshot().await?;
        if let Some(stored) = outcome::find(&mut tx, center.no, new.request.id).await? {
            return told(&stored, &new.request).map(Some);
        }
        let head = center::head(&mut tx, center.no, false).await?;
        self.chosen(center, new)?;
        self.check(&mut tx, center, new, self.after(&head)).await?;
        Ok(None)
    }

    /// Decides in a transaction in which the journal stands still, and writes down what is accepted. On a refusal nothing is
    /// written, and nobody has to forget anything.
    async fn reserve(&self, center: &Center, new: &NewRemittance) -> Result<(RemittanceId, bool), LedgerError> {
        let request = &new.request;
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        if let Some(stored) = outcome::find(&mut tx, center.no, request.id).await? {
            return Ok((told(&stored, request)?, true));
        }
        let now = self.after(&head);
        let id = self.quote(&mut tx, center, new, now).await?;
        let resource = format!("{COLLECTION}{id}");
        outcome::keep_in_tx(&mut tx, center, &head, request, Ok(&resource), now).await?;
        tx.commit().await?;
        Ok((id, false))
    }

    /// Keeps a refusal, which answers the same request for ever. The lane does it, as for everything else that it refuses: it
    /// knows what it writes itself, and sees to it that a request has one outcome over all methods.
    async fn refuse(
        &self,
        center: &Center,
        request: &Request,
        refusal: Refusal,
    ) -> Result<(RemittanceId, bool), LedgerError> {
        let refused = RefusedQuote {
            request: request.clone(),
            refusal,
        };
        match self.lanes.submit(center, refused).await {
            // The same request was accepted meanwhile, which is no outcome of a lane's.
            Ok(_) | Err(LedgerError::Internal) => {
                let mut conn = self.lanes.database().lane.acquire().await?;
                let stored = outcome::find(&mut conn, center.no, request.id).await?;
                let stored = stored.ok_or(LedgerError::Internal)?;
                Ok((told(&stored, request)?, true))
            }
            Err(error) => Err(error),
        }
    }

    /// Now, but after the last transaction, whatever the clocks of other processes say.
    fn after(&self, head: &Head) -> OffsetDateTime {
        self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND)
    }

    /// The quote: checks, reserves the headroom and writes it down.
    async fn quote(
        &self,
        tx: &mut Conn,
        center: &Center,
        new: &NewRemittance,
        now: OffsetDateTime,
    ) -> Result<RemittanceId, LedgerError> {
        let request = &new.request;
        let channel = self.chosen(center, new)?.channel.id().to_owned();
        let detainee = self.check(tx, center, new, now).await?;
        let settings = custody::settings_in_tx(tx, center).await?;
        let owner = format!("channels/{channel}");
        let clearing = account::find_or_open_in_tx(tx, center.no, Code::GatewayClearing, &owner, now).await?;
        let preview =
            distribution::preview_in_tx(tx, center, &detainee, new.amount, center.zone.business_date(now)).await?;
        let preview = CreditFacts {
            parts: preview.parts,
            policy_version: preview.policy_version,
            ..CreditFacts::default()
        };
        let remittance = Remittance {
            id: remittance_id(&center.id, request.id).map_err(|_| LedgerError::Internal)?,
            number: 0,
            request_id: request.id,
            payer: new.payer.clone(),
            detainee: new.detainee.clone(),
            amount: new.amount,
            channel,
            method: new.method.clone(),
            clearing,
            preview: Vec::new(),
            created_at: now,
            expires_at: now + Duration::seconds(settings.quote_ttl_s.into()),
            legs: vec![leg(LegState::Created, now, "")],
            suspended: Vec::new(),
        };
        let preview = record::canonical(&preview);
        let first_poll = entity::first_poll(now);
        store::insert_remittance(tx, center.no, &remittance, request, &preview, first_poll).await?;
        Ok(remittance.id)
    }

    /// Who may pay how much to whom, as the caller's transaction sees it.
    async fn check(
        &self,
        tx: &mut Conn,
        center: &Center,
        new: &NewRemittance,
        now: OffsetDateTime,
    ) -> Result<Detainee, LedgerError> {
        let id = &new.detainee;
        let standing = payer::standing_in_tx(tx, center, &new.payer, id).await?;
        let standing = standing.ok_or_else(|| PayerRefusal::NotFound {
            payer: new.payer.clone(),
        })?;
        standing.require_payer(&new.payer)?;
        let detainee = custody::detainee_in_tx(tx, center, id).await?;
        let detainee = detainee.ok_or_else(|| CustodyRefusal::DetaineeNotFound { detainee: id.clone() })?;
        standing.require_link(&new.payer, id)?;
        if detainee.state != DetaineeState::Active {
            return Err(CustodyRefusal::DetaineeNotActive {
                detainee: id.clone(),
                state: detainee.state.name(),
            }
            .into());
        }
        let settings = custody::settings_in_tx(tx, center).await?;
        let (amount, limit, cap) = (new.amount, settings.remittance_amount_max, settings.balance_cap);
        if amount > limit {
            return Err(R::OverLimit { amount, limit }.into());
        }
        let count_max = settings.payment_count_max;
        if count_max != Settings::UNLIMITED {
            let count = parties::payments_in_tx(tx, center, &new.payer, now).await?;
            if count >= count_max.into() {
                return Err(R::OverCount { count, count_max }.into());
            }
        }
        let vain = store::vain_orders(tx, center.no, &new.payer, now - VAIN_ORDERS_WITHIN).await?;
        if vain >= VAIN_ORDERS_MAX {
            return Err(R::TooManyVainOrders {
                count: vain,
                limit: VAIN_ORDERS_MAX,
            }
            .into());
        }
        let [available, held, savings, _] = detainee.accounts();
        let (balances, _) = balance::now(&mut *tx, center, &[available, held, savings]).await?;
        let in_flight = parties::in_flight_in_tx(tx, center, id, now).await?;
        let sum = |amounts: Vec<Amount>| Amount::sum(amounts, center.currency).map_err(|_| LedgerError::Internal);
        let balance = sum(balances)?;
        if sum(vec![balance, in_flight, amount])? > cap {
            return Err(R::OverCap {
                amount,
                cap,
                balance,
                in_flight,
            }
            .into());
        }
        Ok(detainee)
    }
}

/// A quote that was refused before it came here.
#[derive(Debug)]
struct RefusedQuote {
    request: Request,
    refusal: Refusal,
}

impl Command for RefusedQuote {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, _: &mut State) {}

    fn decide(&self, _: &State, _: &Moment) -> Result<Draft, Declined> {
        Err(Declined::Refused(self.refusal.clone()))
    }

    fn apply(&self, _: &Entry, _: &mut State, _: &mut Rows) -> Result<(), Declined> {
        Err(Declined::Broken("a refused quote moves nothing".into()))
    }
}
