//! ContractService.

use tonic::{Request, Response, Status};

use super::{
    approval::approval_out,
    auth::actor,
    convert::{request, text, timestamp, told, typed},
    identity::reason_told,
    name::{ApprovalName, VendorName},
    page::Page,
    respond, scope,
};
use crate::{
    access::{Actor, Role},
    api::status::invalid_field,
    approval::{Desk, Person},
    contract::{Account, CYCLE_DAYS_MAX, Contract, Contracts, NewTerms, Terms},
    custody::Custody,
    distribution::parse_percent,
    ids::VendorId,
    ledger::Center,
    proto::{
        Approval, AskedVendorAccount, BankAccount, GetVendorContractRequest, ListVendorAccountsRequest,
        ListVendorAccountsResponse, ListVendorTermsRequest, ListVendorTermsResponse, ProposeVendorAccountRequest,
        Refusal, UpdateVendorTermsRequest, VendorAccount, VendorContract, VendorTerms,
        contract_service_server::ContractService,
    },
};

/// The fewest and the most characters of an account's number (ISO 20022, Max34Text).
const NUMBER_CHARS: std::ops::RangeInclusive<usize> = 5..=34;
/// The most characters of a holder's and a bank's name (ISO 20022, Max140Text).
const NAME_CHARS_MAX: usize = 140;
/// The most characters of a bank's code (ISO 20022, Max35Text).
const CODE_CHARS_MAX: usize = 35;

/// The service over its domain.
#[derive(Clone)]
pub struct ContractApi {
    contracts: Contracts,
    desk: Desk,
    custody: Custody,
}

impl ContractApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(contracts: Contracts, desk: Desk, custody: Custody) -> ContractApi {
        ContractApi {
            contracts,
            desk,
            custody,
        }
    }

    async fn named(&self, actor: &Actor, name: &str, field: &str) -> Result<(Center, VendorId), Status> {
        let name = VendorName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(VendorId::parse(name.vendor), field)?))
    }

    async fn whole(&self, actor: &Actor, center: &Center, vendor: &VendorId) -> Result<VendorContract, Status> {
        Ok(contract_out(&self.contracts.get(center, vendor).await?, center, actor))
    }
}

pub(super) fn account_in(account: Option<&BankAccount>) -> Result<Account, Refusal> {
    let account = account.ok_or_else(|| invalid_field("account", "is required"))?;
    let name = |name: String, field: &str| {
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(invalid_field(field, format!("at most {NAME_CHARS_MAX} characters")));
        }
        Ok(name.trim().to_owned())
    };
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let number = account.number.as_str();
    if !is_plain(number) || !NUMBER_CHARS.contains(&number.len()) {
        return Err(invalid_field("account.number", "must be 5 to 34 letters and digits"));
    }
    let code = account.bank_code.as_str();
    if !is_plain(code) || code.is_empty() || code.len() > CODE_CHARS_MAX {
        return Err(invalid_field("account.bank_code", "must be 1 to 35 letters and digits"));
    }
    Ok(Account {
        holder: name(told(&account.holder, "account.holder")?, "account.holder")?,
        number: number.to_owned(),
        bank_code: code.to_owned(),
        bank_name: name(text(&account.bank_name, "account.bank_name")?, "account.bank_name")?,
    })
}

/// An account, with its number for finance only.
fn account_out(account: &Account, actor: &Actor) -> Option<BankAccount> {
    let account = if actor.role == Role::Finance {
        account.clone()
    } else {
        account.masked()
    };
    Some(BankAccount {
        holder: account.holder,
        number: account.number,
        bank_code: account.bank_code,
        bank_name: account.bank_name,
    })
}

fn approval_name(center: &Center, approval: i64) -> String {
    let center = center.id.as_str();
    ApprovalName { center, approval }.to_string()
}

fn terms_out(terms: &Terms) -> VendorTerms {
    let (change_time, changed_by) = match &terms.changed {
        Some((at, by)) => (timestamp(*at), by.clone()),
        None => Default::default(),
    };
    VendorTerms {
        version: terms.version,
        commission_percent: terms.commission_percent.to_string(),
        settlement_cycle_days: terms.cycle_days.into(),
        change_time,
        changed_by,
    }
}

fn vendor_account_out(found: &crate::contract::VendorAccount, center: &Center, actor: &Actor) -> VendorAccount {
    VendorAccount {
        version: found.version,
        account: account_out(&found.account, actor),
        approval: approval_name(center, found.approval),
        approve_time: timestamp(found.approved_at),
        effective_time: timestamp(found.effective_at),
    }
}

fn contract_out(contract: &Contract, center: &Center, actor: &Actor) -> VendorContract {
    let vendor = VendorName {
        center: center.id.as_str(),
        vendor: contract.vendor.as_str(),
    };
    let account = |found: &Option<crate::contract::VendorAccount>| {
        found.as_ref().map(|found| vendor_account_out(found, center, actor))
    };
    let asked = contract.asked.iter().map(|asked| AskedVendorAccount {
        account: account_out(&asked.account, actor),
        approval: approval_name(center, asked.approval),
    });
    VendorContract {
        vendor: vendor.to_string(),
        terms: Some(terms_out(&contract.terms)),
        account: account(&contract.account),
        next_account: account(&contract.next),
        asked_accounts: asked.collect(),
    }
}

#[tonic::async_trait]
impl ContractService for ContractApi {
    async fn get_vendor_contract(
        &self,
        call: Request<GetVendorContractRequest>,
    ) -> Result<Response<VendorContract>, Status> {
        let actor = actor(&call)?;
        let (center, vendor) = self.named(actor, &call.get_ref().name, "name").await?;
        Ok(Response::new(self.whole(actor, &center, &vendor).await?))
    }

    async fn update_vendor_terms(
        &self,
        call: Request<UpdateVendorTermsRequest>,
    ) -> Result<Response<VendorContract>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, vendor) = self.named(actor, &message.name, "name").await?;
        let percent = parse_percent(&message.commission_percent);
        let what = "must be a percentage from 0 to 100 with at most four decimals";
        let cycle = match message.settlement_cycle_days {
            0 => 1,
            days => i16::try_from(days).unwrap_or(0),
        };
        if !(1..=CYCLE_DAYS_MAX).contains(&cycle) {
            return Err(invalid_field("settlement_cycle_days", format!("must be 1 to {CYCLE_DAYS_MAX}")).into());
        }
        if message.version < 0 {
            return Err(invalid_field("version", "must not be negative").into());
        }
        let new = NewTerms {
            commission_percent: percent.ok_or_else(|| invalid_field("commission_percent", what))?,
            cycle_days: cycle,
            version: (message.version > 0).then_some(message.version),
        };
        self.contracts
            .update_terms(&center, &vendor, new, &actor.name())
            .await?;
        Ok(Response::new(self.whole(actor, &center, &vendor).await?))
    }

    async fn propose_vendor_account(
        &self,
        call: Request<ProposeVendorAccountRequest>,
    ) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, vendor) = self.named(actor, &message.name, "name").await?;
        let account = account_in(message.account.as_ref())?;
        let reason = reason_told(&message.reason, "reason")?;
        let method = "custody.v1.ContractService/ProposeVendorAccount";
        let request = request(&message.request_id, method, message, actor)?;
        let asked = self
            .contracts
            .ask_for_account(&center, request, Person::of(actor), vendor, account, reason);
        let (approval, replayed) = asked.await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn list_vendor_terms(
        &self,
        call: Request<ListVendorTermsRequest>,
    ) -> Result<Response<ListVendorTermsResponse>, Status> {
        let message = call.get_ref();
        let (center, vendor) = self.named(actor(&call)?, &message.parent, "parent").await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read("ListVendorTerms", &arguments, message.page_size, &message.page_token)?;
        let found = self
            .contracts
            .list_terms(&center, &vendor, page.after_number()?, page.limit());
        let (found, next_page_token) = page.finish(found.await?, |terms| terms.version.to_string());
        Ok(Response::new(ListVendorTermsResponse {
            vendor_terms: found.iter().map(terms_out).collect(),
            next_page_token,
        }))
    }

    async fn list_vendor_accounts(
        &self,
        call: Request<ListVendorAccountsRequest>,
    ) -> Result<Response<ListVendorAccountsResponse>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, vendor) = self.named(actor, &message.parent, "parent").await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read("ListVendorAccounts", &arguments, message.page_size, &message.page_token)?;
        let found = self
            .contracts
            .list_accounts(&center, &vendor, page.after_number()?, page.limit());
        let (found, next_page_token) = page.finish(found.await?, |account| account.version.to_string());
        Ok(Response::new(ListVendorAccountsResponse {
            vendor_accounts: found
                .iter()
                .map(|account| vendor_account_out(account, &center, actor))
                .collect(),
            next_page_token,
        }))
    }
}
