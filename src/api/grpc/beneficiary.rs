//! BeneficiaryService.

use tonic::{Request, Response, Status};

use super::{
    approval::{approval_name, approval_out},
    auth::actor,
    contract::account_in,
    convert::{request, timestamp, typed},
    identity::reason_told,
    name::{DetaineeName, PayerName},
    respond, scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    approval::{Desk, Person},
    beneficiary::{self, Beneficiaries, Owner},
    custody::Custody,
    ids::{DetaineeId, PayerId},
    ledger::Center,
    proto::{
        Approval, BankAccount, ListBankAccountsRequest, ListBankAccountsResponse, ProposeBankAccountRequest,
        VerifiedBankAccount, beneficiary_service_server::BeneficiaryService,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct BeneficiaryApi {
    beneficiaries: Beneficiaries,
    desk: Desk,
    custody: Custody,
}

impl BeneficiaryApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(beneficiaries: Beneficiaries, desk: Desk, custody: Custody) -> BeneficiaryApi {
        BeneficiaryApi {
            beneficiaries,
            desk,
            custody,
        }
    }

    async fn owner(&self, actor: &Actor, parent: &str) -> Result<(Center, Owner), Status> {
        if let Ok(name) = PayerName::parse(parent, "parent") {
            let center = scope::center(&self.custody, actor, name.center).await?;
            return Ok((center, Owner::Payer(typed(PayerId::parse(name.payer), "parent")?)));
        }
        let name = DetaineeName::parse(parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = typed(DetaineeId::parse(name.detainee), "parent")?;
        Ok((center, Owner::Detainee(id)))
    }
}

fn account_out(found: &beneficiary::BankAccount, center: &Center) -> VerifiedBankAccount {
    VerifiedBankAccount {
        version: found.version,
        account: Some(BankAccount {
            holder: found.holder.clone(),
            number: found.masked.clone(),
            bank_code: found.bank_code.clone(),
            bank_name: found.bank_name.clone(),
        }),
        approval: approval_name(center, found.approval),
        approve_time: timestamp(found.approved_at),
    }
}

#[tonic::async_trait]
impl BeneficiaryService for BeneficiaryApi {
    async fn propose_bank_account(
        &self,
        call: Request<ProposeBankAccountRequest>,
    ) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, owner) = self.owner(actor, &message.parent).await?;
        let account = account_in(message.account.as_ref())?;
        let reason = reason_told(&message.reason, "reason")?;
        if reason.contains(&account.number) {
            return Err(invalid_field("reason", "must not have the account's number in it").into());
        }
        // Kept for ever, a request has a hash of the number instead.
        let mut kept = message.clone();
        if let Some(kept) = &mut kept.account {
            kept.number = self.beneficiaries.number_hash(&account.number)?;
        }
        let method = "custody.v1.BeneficiaryService/ProposeBankAccount";
        let request = request(&message.request_id, method, &kept, actor)?;
        let asked = self
            .beneficiaries
            .ask(&center, request, Person::of(actor), (owner, account), reason);
        let (approval, replayed) = asked.await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn list_bank_accounts(
        &self,
        call: Request<ListBankAccountsRequest>,
    ) -> Result<Response<ListBankAccountsResponse>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, owner) = self.owner(actor, &message.parent).await?;
        let found = self.beneficiaries.list(&center, &owner).await?;
        Ok(Response::new(ListBankAccountsResponse {
            bank_accounts: found.iter().map(|account| account_out(account, &center)).collect(),
        }))
    }
}
