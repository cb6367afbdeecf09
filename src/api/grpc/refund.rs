//! RefundService: refunds to payers and release payouts.

use tonic::{Request, Response, Status};

use super::{
    approval::{approval_asked, approval_out, approval_told},
    auth::{actor, denied_status},
    convert::{
        detainee_name, money, money_text, payer_name, positive_amount_in, remittance_name, request, timestamp, told,
        transaction_name, typed,
    },
    distribution::debt_name,
    identity::{reason_told, without_account},
    name::{
        CenterName, CreditReversalName, DetaineeName, PayerName, RefundName, ReleaseName, RemittanceName,
        TransactionName,
    },
    page::Page,
    respond,
    scope::{self, Linked},
};
use crate::{
    api::status::internal,
    approval::{Desk, Person},
    custody::Custody,
    ids::{DetaineeId, PayerId, RemittanceId, Seq},
    ledger::{Center, LedgerError},
    money::Amount,
    proto::{
        Approval, ConfirmReleaseRequest, CreateRefundRequest, CreateReleaseRequest, CreditReversal, DetaineeConsent,
        FailReleaseRequest, GetCreditReversalRequest, GetRefundRequest, GetReleaseRequest, GetUnspentRequest,
        JournalRecord, ListRefundsRequest, ListRefundsResponse, ListReleasesRequest, ListReleasesResponse, MoneyUse,
        OutcomeFacts, PutRefundBackRequest, RedirectRefundRequest, RefreshRefundRequest, Refund, RefundStep, Release,
        ReverseCreditRequest, TransactionKind, Unspent, UnspentRemittance, detainee_consent::Kind,
        journal_record::Facts, refund, refund_service_server::RefundService, release,
    },
    refund::{self as domain, RefundRefusal, RefundState, Refunds},
};

/// The service over its domain.
#[derive(Clone)]
pub struct RefundApi {
    refunds: Refunds,
    desk: Desk,
    custody: Custody,
    linked: Linked,
}

impl RefundApi {
    /// The service; `linked` tells which detainees a payer may see.
    pub fn new(refunds: Refunds, desk: Desk, custody: Custody, linked: Linked) -> RefundApi {
        RefundApi {
            refunds,
            desk,
            custody,
            linked,
        }
    }
}

/// Who is refunded.
fn payer_of(refund: &domain::Refund) -> Option<PayerId> {
    match &refund.requested.facts {
        Some(Facts::Refund(facts)) => PayerId::parse(&facts.payer).ok(),
        _ => None,
    }
}

/// How something ended, as the record of its end tells; nothing when it has not.
fn outcome(end: Option<&JournalRecord>) -> Result<OutcomeFacts, Status> {
    match end.map(|end| &end.facts) {
        None => Ok(OutcomeFacts::default()),
        Some(Some(Facts::Outcome(facts))) => Ok(facts.clone()),
        Some(_) => Err(internal()),
    }
}

fn state_out(state: RefundState) -> refund::State {
    match state {
        RefundState::Requested => refund::State::Requested,
        RefundState::Submitted => refund::State::Submitted,
        RefundState::Abnormal => refund::State::Abnormal,
        RefundState::Redirected => refund::State::Redirected,
        RefundState::Succeeded => refund::State::Succeeded,
        RefundState::Failed => refund::State::Failed,
    }
}

fn refund_out(refund: &domain::Refund, center: &Center) -> Result<Refund, Status> {
    let requested = &refund.requested;
    let Some(Facts::Refund(facts)) = &requested.facts else {
        return Err(internal());
    };
    let steps = refund.steps.iter().map(|(state, at, detail)| RefundStep {
        state: state_out(*state).into(),
        time: timestamp(*at),
        detail: detail.clone(),
    });
    let end = refund.end.as_ref();
    let outcome = outcome(end)?;
    let name = RefundName {
        center: center.id.as_str(),
        seq: requested.seq,
    };
    Ok(Refund {
        name: name.to_string(),
        remittance: remittance_name(center, &facts.remittance),
        payer: payer_name(center, &facts.payer),
        detainee: detainee_name(center, &facts.detainee),
        channel: facts.channel.clone(),
        refund_number: facts.refund_number.clone(),
        amount: money_text(&facts.amount, center),
        unspent_before: money_text(&facts.unspent, center),
        reason: facts.reason.clone(),
        state: state_out(refund.state).into(),
        gateway_reference: outcome.reference,
        failure_reason: outcome.reason,
        create_time: requested.recorded_at,
        end_time: end.and_then(|end| end.recorded_at),
        transaction: transaction_name(center, requested.seq),
        end_transaction: end.map_or_else(String::new, |end| transaction_name(center, end.seq)),
        suspense_transaction: match requested.reverses {
            0 => String::new(),
            seq => transaction_name(center, seq),
        },
        approval: approval_told(center, facts.rejection.as_ref().or(facts.approval.as_ref())),
        redirected_to: refund.redirected_to.clone().unwrap_or_default(),
        steps: steps.collect(),
        consent_document: facts.consent_document.clone(),
    })
}

/// The number of the paper by which a detainee agreed, if one is told.
pub(super) fn consent_in(told: Option<&DetaineeConsent>) -> Result<Option<String>, Status> {
    match told.and_then(|consent| consent.kind.as_ref()) {
        None => Ok(None),
        Some(Kind::Document(document)) => Ok(Some(reason_told(document, "consent.document")?)),
        Some(Kind::SessionSignature(_)) => Err(LedgerError::from(RefundRefusal::ConsentNotCheckable).into()),
    }
}

fn use_out(used: &domain::Use, center: &Center) -> MoneyUse {
    MoneyUse {
        transaction: transaction_name(center, used.seq.0),
        what: used.what.to_owned(),
        amount: money(used.amount),
    }
}

fn release_out(release: &domain::Release, center: &Center) -> Result<Release, Status> {
    let opened = &release.opened;
    let Some(Facts::Release(facts)) = &opened.facts else {
        return Err(internal());
    };
    let end = release.end.as_ref();
    let state = match end.map(JournalRecord::kind) {
        // Who had nothing left at once.
        None if opened.postings.is_empty() => release::State::Paid,
        None => release::State::InTransit,
        Some(TransactionKind::ReleasePaid) => release::State::Paid,
        Some(TransactionKind::ReleaseFailed) => release::State::Failed,
        Some(_) => return Err(internal()),
    };
    let outcome = outcome(end)?;
    let name = ReleaseName {
        center: center.id.as_str(),
        seq: opened.seq,
    };
    Ok(Release {
        name: name.to_string(),
        detainee: detainee_name(center, &facts.detainee),
        amount: money_text(&facts.amount, center),
        destination: facts.destination.clone(),
        state: state.into(),
        bank_reference: outcome.reference,
        failure_reason: outcome.reason,
        create_time: opened.recorded_at,
        end_time: end.and_then(|end| end.recorded_at),
        transaction: transaction_name(center, opened.seq),
        end_transaction: end.map_or_else(String::new, |end| transaction_name(center, end.seq)),
        approval: approval_told(center, facts.approval.as_ref()),
    })
}

fn reversal_out(record: &JournalRecord, center: &Center) -> Result<CreditReversal, Status> {
    let Some(Facts::CreditReversal(facts)) = &record.facts else {
        return Err(internal());
    };
    let name = CreditReversalName {
        center: center.id.as_str(),
        seq: record.seq,
    };
    let claimed = Amount::parse(&facts.claimed, center.currency).map_err(|_| internal())?;
    Ok(CreditReversal {
        name: name.to_string(),
        credit: transaction_name(center, record.reverses),
        remittance: remittance_name(center, &facts.remittance),
        detainee: detainee_name(center, &facts.detainee),
        amount: money_text(&facts.amount, center),
        refunded: money_text(&facts.refunded, center),
        claimed: money(claimed),
        // The claim has the number of the transaction that makes it.
        claim: if claimed.is_positive() {
            debt_name(center, record.seq)
        } else {
            String::new()
        },
        parts: facts.parts.clone(),
        reason: facts.reason.clone(),
        transaction: transaction_name(center, record.seq),
        create_time: record.recorded_at,
        approval: approval_told(center, facts.approval.as_ref()),
    })
}

/// Reads a filter by detainee; empty is all.
fn detainee_filter(text: &str, center: &Center) -> Result<Option<DetaineeId>, Status> {
    let name = DetaineeName::parse_filter(text, "detainee", center.id.as_str())?;
    let id = name.map(|name| typed(DetaineeId::parse(name.detainee), "detainee"));
    Ok(id.transpose()?)
}

#[tonic::async_trait]
impl RefundService for RefundApi {
    async fn get_unspent(&self, call: Request<GetUnspentRequest>) -> Result<Response<Unspent>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let detainee = scope::detainee(&self.linked, actor, &center, name.detainee, "detainee").await?;
        let filter = PayerName::parse_filter(&message.payer, "payer", center.id.as_str())?;
        let told = filter
            .map(|name| typed(PayerId::parse(name.payer), "payer"))
            .transpose()?;
        if let Some(payer) = &told {
            actor.require_payer(payer).map_err(|denied| denied_status(&denied))?;
        }
        // A payer sees what is left of their own money and of nobody else's.
        let payer = told.as_ref().or(actor.confined_to_payer());
        let money_left = self.refunds.unspent(&center, &detainee, payer).await?;
        let remittances = money_left.remittances.iter().map(|entry| UnspentRemittance {
            remittance: entry.remittance.clone(),
            payer: payer_name(&center, &entry.payer),
            original: money(entry.original),
            refunded: money(entry.refunded),
            unspent: money(entry.unspent),
            credit_time: timestamp(entry.credited_at),
            uses: match actor.confined_to_payer() {
                // What a detainee bought is not their payers' business.
                Some(_) => Vec::new(),
                None => entry.uses.iter().map(|used| use_out(used, &center)).collect(),
            },
        });
        Ok(Response::new(Unspent {
            detainee: message.detainee.clone(),
            remittances: remittances.collect(),
            unspent: money(money_left.total),
            as_of_seq: money_left.as_of.0,
        }))
    }

    async fn create_refund(&self, call: Request<CreateRefundRequest>) -> Result<Response<Refund>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let method = "custody.v1.RefundService/CreateRefund";
        let request = request(&message.request_id, method, message, actor)?;
        let remittance = RemittanceName::parse_in(&message.remittance, "remittance", center.id.as_str())?;
        let remittance = typed(RemittanceId::parse(remittance.remittance), "remittance")?;
        let amount = positive_amount_in(message.amount.as_ref(), center.currency, "amount")?;
        let suspense = TransactionName::parse_filter(
            &message.suspense_transaction,
            "suspense_transaction",
            center.id.as_str(),
        )?;
        let new = domain::NewRefund {
            suspense: suspense.map(|name| Seq(name.seq)),
            by_bank: message.by_bank,
            consent: consent_in(message.consent.as_ref())?,
            ..domain::NewRefund::of(remittance, amount, reason_told(&message.reason, "reason")?)
        };
        let answered = self
            .refunds
            .request_refund(&center, request, Person::of(actor), new)
            .await?;
        let refund = match &answered.record {
            // As it was set aside, now and in every repetition.
            Some(record) => {
                let refund = domain::Refund {
                    requested: (**record).clone(),
                    state: RefundState::Requested,
                    end: None,
                    redirected_to: None,
                    steps: Vec::new(),
                };
                refund_out(&refund, &center)?
            }
            None => Refund {
                remittance: message.remittance.clone(),
                amount: message.amount.clone(),
                reason: message.reason.clone(),
                suspense_transaction: message.suspense_transaction.clone(),
                approval: approval_asked(&center, &answered),
                ..Refund::default()
            },
        };
        Ok(respond(refund, answered.replayed))
    }

    async fn get_refund(&self, call: Request<GetRefundRequest>) -> Result<Response<Refund>, Status> {
        let actor = actor(&call)?;
        let name = RefundName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let found = self.refunds.get(&center, Seq(name.seq)).await;
        let payer = match &found {
            Ok(refund) => payer_of(refund),
            Err(LedgerError::Refused { .. }) => None,
            Err(error) => return Err(error.clone().into()),
        };
        actor
            .require_refund(Seq(name.seq), payer.as_ref())
            .map_err(|denied| denied_status(&denied))?;
        Ok(Response::new(refund_out(&found?, &center)?))
    }

    async fn list_refunds(&self, call: Request<ListRefundsRequest>) -> Result<Response<ListRefundsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let actor = actor(&call)?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let detainee = detainee_filter(&message.detainee, &center)?;
        if let Some(id) = &detainee {
            scope::detainee(&self.linked, actor, &center, id.as_str(), "detainee").await?;
        }
        let remittance = RemittanceName::parse_filter(&message.remittance, "remittance", center.id.as_str())?
            .map(|name| typed(RemittanceId::parse(name.remittance), "remittance"))
            .transpose()?;
        let arguments = [
            message.parent.as_str(),
            message.detainee.as_str(),
            message.remittance.as_str(),
        ];
        let page = Page::read("ListRefunds", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let (detainee, remittance) = (detainee.as_ref(), remittance.as_ref());
        let found = self
            .refunds
            .list(
                &center,
                detainee,
                remittance,
                actor.confined_to_payer(),
                before,
                page.limit(),
            )
            .await?;
        let (found, next_page_token) = page.finish(found, |refund| refund.requested.seq.to_string());
        let refunds = found.iter().map(|refund| refund_out(refund, &center));
        Ok(Response::new(ListRefundsResponse {
            refunds: refunds.collect::<Result<_, _>>()?,
            next_page_token,
        }))
    }

    async fn refresh_refund(&self, call: Request<RefreshRefundRequest>) -> Result<Response<Refund>, Status> {
        let name = RefundName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let refund = self.refunds.refresh(&center, Seq(name.seq)).await?;
        Ok(Response::new(refund_out(&refund, &center)?))
    }

    async fn redirect_refund(&self, call: Request<RedirectRefundRequest>) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = RefundName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.RefundService/RedirectRefund";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let (approval, replayed) = self
            .refunds
            .request_redirect(&center, request, Person::of(actor), Seq(name.seq), reason)
            .await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn put_refund_back(&self, call: Request<PutRefundBackRequest>) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = RefundName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.RefundService/PutRefundBack";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let (approval, replayed) = self
            .refunds
            .request_put_back(&center, request, Person::of(actor), Seq(name.seq), reason)
            .await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn create_release(&self, call: Request<CreateReleaseRequest>) -> Result<Response<Release>, Status> {
        let actor = actor(&call)?;
        // Requests and records are kept for ever: an account number stands in neither.
        let message = &CreateReleaseRequest {
            destination: without_account(&call.get_ref().destination),
            ..call.get_ref().clone()
        };
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let method = "custody.v1.RefundService/CreateRelease";
        let request = request(&message.request_id, method, message, actor)?;
        let detainee = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = typed(DetaineeId::parse(detainee.detainee), "detainee")?;
        let destination = told(&message.destination, "destination")?;
        let answered = self
            .refunds
            .request_release(&center, request, Person::of(actor), detainee, destination)
            .await?;
        let release = match &answered.record {
            Some(record) => release_out(&self.refunds.release_as_of(&center, record).await?, &center)?,
            None => Release {
                detainee: message.detainee.clone(),
                amount: answered
                    .approval
                    .as_ref()
                    .and_then(|approval| approval.amount)
                    .and_then(money),
                destination: message.destination.clone(),
                approval: approval_asked(&center, &answered),
                ..Release::default()
            },
        };
        Ok(respond(release, answered.replayed))
    }

    async fn get_release(&self, call: Request<GetReleaseRequest>) -> Result<Response<Release>, Status> {
        let name = ReleaseName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let release = self.refunds.release(&center, Seq(name.seq)).await?;
        Ok(Response::new(release_out(&release, &center)?))
    }

    async fn list_releases(
        &self,
        call: Request<ListReleasesRequest>,
    ) -> Result<Response<ListReleasesResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let detainee = detainee_filter(&message.detainee, &center)?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListReleases", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let found = self
            .refunds
            .list_releases(&center, detainee.as_ref(), before, page.limit())
            .await?;
        let (found, next_page_token) = page.finish(found, |release| release.opened.seq.to_string());
        let releases = found.iter().map(|release| release_out(release, &center));
        Ok(Response::new(ListReleasesResponse {
            releases: releases.collect::<Result<_, _>>()?,
            next_page_token,
        }))
    }

    async fn confirm_release(&self, call: Request<ConfirmReleaseRequest>) -> Result<Response<Release>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = ReleaseName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.RefundService/ConfirmRelease";
        let request = request(&message.request_id, method, message, actor)?;
        let reference = told(&message.bank_reference, "bank_reference")?;
        let posted = self
            .refunds
            .confirm_release(&center, request, Seq(name.seq), reference)
            .await?;
        let release = self.refunds.release_as_of(&center, &posted.record).await?;
        Ok(respond(release_out(&release, &center)?, posted.replayed))
    }

    async fn fail_release(&self, call: Request<FailReleaseRequest>) -> Result<Response<Release>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = ReleaseName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.RefundService/FailRelease";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let posted = self
            .refunds
            .fail_release(&center, request, Seq(name.seq), reason)
            .await?;
        let release = self.refunds.release_as_of(&center, &posted.record).await?;
        Ok(respond(release_out(&release, &center)?, posted.replayed))
    }

    async fn reverse_credit(&self, call: Request<ReverseCreditRequest>) -> Result<Response<CreditReversal>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let credit = TransactionName::parse(&message.credit, "credit")?;
        let center = scope::center(&self.custody, actor, credit.center).await?;
        let method = "custody.v1.RefundService/ReverseCredit";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let answered = self
            .refunds
            .request_reversal(&center, request, Person::of(actor), Seq(credit.seq), reason)
            .await?;
        let reversal = match &answered.record {
            Some(record) => reversal_out(record, &center)?,
            None => CreditReversal {
                credit: message.credit.clone(),
                reason: message.reason.clone(),
                approval: approval_asked(&center, &answered),
                ..CreditReversal::default()
            },
        };
        Ok(respond(reversal, answered.replayed))
    }

    async fn get_credit_reversal(
        &self,
        call: Request<GetCreditReversalRequest>,
    ) -> Result<Response<CreditReversal>, Status> {
        let name = CreditReversalName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let record = self.refunds.reversal(&center, Seq(name.seq)).await?;
        Ok(Response::new(reversal_out(&record, &center)?))
    }
}
