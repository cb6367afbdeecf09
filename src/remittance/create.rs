//! Creating a remittance: a quote in one transaction, then an order at the gateway.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::{
    Remittances,
    entity::{self, Leg, LegState, Remittance, order_number, remittance_id},
    error::RemittanceRefusal as R,
    parties, store,
};
use crate::{
    custody::{self, CustodyRefusal, Detainee, DetaineeState, Settings},
    db::Conn,
    distribution,
    gateway::{Gate, GatewayError, NewPayment, PaymentMethod, PaymentState},
    ids::{DetaineeId, PayerId, RemittanceId},
    ledger::{Center, Code, LedgerError, Outcome, Request, account, balance, center, outcome, record},
    money::Amount,
    payer::{self, PayerRefusal},
    proto::CreditFacts,
};

/// The method that a remittance's request names.
pub const METHOD: &str = "custody.v1.RemittanceService/CreateRemittance";

/// What is told when a remittance is created.
#[derive(Debug, Clone)]
pub struct NewRemittance {
    /// What identifies it.
    pub request: Request,
    /// Who pays.
    pub payer: PayerId,
    /// For whom.
    pub detainee: DetaineeId,
    /// How much, above zero, in the center's currency.
    pub amount: Amount,
    /// Through which channel; without one, through the center's first.
    pub channel: Option<String>,
    /// How.
    pub method: PaymentMethod,
}

/// Where a remittance stands below its center, as the outcome of its request names it.
const COLLECTION: &str = "remittances/";

fn remittance_of(resource: &str) -> Result<RemittanceId, LedgerError> {
    let id = resource.strip_prefix(COLLECTION).map(RemittanceId::parse);
    id.and_then(Result::ok).ok_or_else(|| {
        tracing::error!(resource, "a request's outcome is no remittance");
        LedgerError::Internal
    })
}

impl Remittances {
    /// Quotes a remittance and opens an order for it at the gateway. The same request again is answered with what is there
    /// (and opens the order if that was not done yet); the second value tells that it is a repetition. A refusal is kept, and
    /// answers the same request for ever.
    pub async fn create(&self, center: &Center, new: NewRemittance) -> Result<(Remittance, bool), LedgerError> {
        let (id, replayed) = self.accept(center, &new).await?;
        let remittance = self.remittance(center, &id).await?;
        let remittance = self.open(center, self.gate(&remittance.channel)?, remittance).await?;
        Ok((remittance, replayed))
    }

    /// The channel of that name.
    ///
    /// Errors: NOT_FOUND.
    pub(super) fn gate(&self, channel: &str) -> Result<&Gate, R> {
        self.channels.get(channel).ok_or_else(|| R::ChannelNotFound {
            channel: channel.to_owned(),
        })
    }

    /// The channel that a new remittance goes through.
    ///
    /// Errors: NOT_FOUND, PAYMENT_METHOD.
    fn chosen(&self, center: &Center, new: &NewRemittance) -> Result<&Gate, R> {
        let named = new.channel.as_deref();
        let gate = self
            .channels
            .choose(&center.id, named)
            .ok_or_else(|| R::ChannelNotFound {
                channel: named.unwrap_or_default().to_owned(),
            })?;
        if gate.channel.offers(&new.method) {
            return Ok(gate);
        }
        Err(R::MethodNotOffered {
            channel: gate.channel.id().to_owned(),
        })
    }

    /// The request's one outcome, kept in the transaction that decides it.
    async fn accept(&self, center: &Center, new: &NewRemittance) -> Result<(RemittanceId, bool), LedgerError> {
        let request = &new.request;
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        if let Some(stored) = outcome::find(&mut tx, center.no, request.id).await? {
            return match stored.answer(request)? {
                Outcome::Accepted { resource, .. } => Ok((remittance_of(&resource)?, true)),
                Outcome::Refused { refusal, .. } => Err(LedgerError::Refused {
                    refusal,
                    replayed: true,
                }),
                Outcome::Posted(_) => Err(LedgerError::Internal),
            };
        }
        // After the last transaction, whatever the clocks of other processes say.
        let now = self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        let quoted = self.quote(&mut tx, center, new, now).await;
        let outcome = match &quoted {
            Ok(id) => Ok(format!("{COLLECTION}{id}")),
            // Whoever refuses has written nothing yet.
            Err(LedgerError::Refused { refusal, .. }) => Err(refusal),
            Err(error) => return Err(error.clone()),
        };
        let kept = outcome.as_ref().map(String::as_str).map_err(|refusal| *refusal);
        outcome::keep_in_tx(&mut tx, center, &head, request, kept, now).await?;
        tx.commit().await?;
        Ok((quoted?, false))
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

    /// Who may pay how much to whom. The journal's head is locked, so that nothing read here can change.
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

    /// Opens the order at the gateway if that was not done yet. Idempotent on the order's number.
    pub(super) async fn open(
        &self,
        center: &Center,
        gate: &Gate,
        remittance: Remittance,
    ) -> Result<Remittance, LedgerError> {
        if let Some(failed) = remittance.leg(LegState::Failed) {
            return Err(refusal(&remittance, failed.detail.clone()).into());
        }
        let now = self.lanes.clock().now();
        if remittance.state() != LegState::Created || now >= remittance.expires_at {
            return Ok(remittance);
        }
        let payment = NewPayment {
            order_number: order_number(center.no, &remittance.id),
            amount: remittance.amount,
            description: format!("Remittance {}", remittance.id),
            expires_at: remittance.expires_at,
            notify_url: gate.notify_url.clone(),
            method: remittance.method.clone(),
        };
        match gate.channel.create_payment(&payment).await {
            Ok(payment) => {
                let pending = Leg {
                    payment_url: Some(payment.payment_url),
                    prepay: payment.prepay,
                    ..leg(LegState::Pending, self.lanes.clock().now(), "")
                };
                self.add_leg(center, &remittance.id, &pending).await
            }
            Err(error @ GatewayError::Refused { .. }) => self.not_opened(center, gate, remittance, &error).await,
            // Whether the order was opened is not known; the same request, or the poll, finds out.
            Err(error) => Err(unavailable(remittance, error.to_string())),
        }
    }

    /// The gateway refused to open an order. An earlier attempt whose answer was lost may have been taken, so the order is
    /// closed before it counts as failed: what has failed nobody can pay.
    async fn not_opened(
        &self,
        center: &Center,
        gate: &Gate,
        remittance: Remittance,
        error: &GatewayError,
    ) -> Result<Remittance, LedgerError> {
        match gate
            .channel
            .close_payment(&order_number(center.no, &remittance.id))
            .await
        {
            Ok(PaymentState::Closed | PaymentState::Unknown) => {
                let failed = leg(LegState::Failed, self.lanes.clock().now(), &error.to_string());
                self.add_leg(center, &remittance.id, &failed).await?;
                Err(refusal(&remittance, error.to_string()).into())
            }
            Ok(PaymentState::Paid { .. }) => self.ask(center, gate, remittance).await,
            Ok(PaymentState::Unpaid) | Err(_) => Err(unavailable(remittance, error.to_string())),
        }
    }

    /// Adds a leg unless its state was reached before, and reads the remittance again. Headroom that is given back before its
    /// time is something that lanes have read: they forget it.
    pub(super) async fn add_leg(
        &self,
        center: &Center,
        id: &RemittanceId,
        leg: &Leg,
    ) -> Result<Remittance, LedgerError> {
        if matches!(leg.state, LegState::Failed | LegState::Expired) {
            let mut tx = self.lanes.database().lane.begin().await?;
            center::touch_rules_in_tx(&mut tx, center.no).await?;
            store::insert_leg(&mut tx, center.no, id, leg).await?;
            tx.commit().await?;
        } else {
            let mut conn = self.lanes.database().lane.acquire().await?;
            store::insert_leg(&mut conn, center.no, id, leg).await?;
        }
        self.remittance(center, id).await
    }
}

fn refusal(remittance: &Remittance, problem: String) -> R {
    R::Gateway {
        remittance: remittance.id.clone(),
        problem,
    }
}

/// Whether the gateway has the order is not known.
fn unavailable(remittance: Remittance, problem: String) -> LedgerError {
    let remittance = remittance.id;
    R::GatewayUnavailable { remittance, problem }.into()
}

/// A leg without payment.
pub(super) fn leg(state: LegState, at: OffsetDateTime, detail: &str) -> Leg {
    Leg {
        state,
        at,
        detail: detail.to_owned(),
        payment_url: None,
        prepay: BTreeMap::new(),
        payment: None,
        seq: None,
        deadline: None,
    }
}
