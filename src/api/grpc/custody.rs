//! CustodyService.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use tonic::{Request, Response, Status};

use super::{
    auth::{actor, denied_status},
    convert::{amount_in, money, positive_amount_in, text, timestamp, told, typed},
    name::{self, CenterName, DetaineeName, SettingsName, TransactionName},
    page::{Page, leg_cursor},
    scope::{self, Linked},
    spending::{require_known_tiers, spending_in, spending_out},
};
use crate::{
    api::status::invalid_field,
    clock::Zone,
    custody::{self, Admission, CenterProfile, Custody, DetaineeState, NewCenter, Screening, Settings, SpendingRules},
    ids::{AccountNo, CenterId, DetaineeId, Seq},
    ledger::{
        Center, Reason, Refusal, Side, record,
        statement::{Line, PageOf, Position},
    },
    money::{Amount, Currency},
    proto::{
        self, AdmitDetaineeRequest, Balances, CenterSettings, ChangeLegalStatusRequest, CreateCenterRequest, Detainee,
        DetaineeAccount, GetBalancesRequest, GetCenterRequest, GetDetaineeRequest, ListCentersRequest,
        ListCentersResponse, ListDetaineesRequest, ListDetaineesResponse, ListStatementLinesRequest,
        ListStatementLinesResponse, ScreeningSettings, StatementLine, TierLimit, UpdateCenterSettingsRequest,
        custody_service_server::CustodyService,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct CustodyApi {
    custody: Custody,
    linked: Linked,
}

impl CustodyApi {
    /// The service; `linked` tells which detainees a payer may see.
    pub fn new(custody: Custody, linked: Linked) -> CustodyApi {
        CustodyApi { custody, linked }
    }
}

/// The longest time that screening looks back over, in days.
const SCREENING_DAYS_MAX: i32 = 31;
/// The longest review, in hours.
const REVIEW_HOURS_MAX: i32 = 720;

/// Reads the rules of a new center. What is not told is the default.
fn settings_in(told: &CenterSettings, defaults: Settings, currency: Currency) -> Result<Settings, Refusal> {
    let base = settings_money(&defaults);
    let quote_ttl = if told.quote_ttl == 0 {
        defaults.quote_ttl_s
    } else {
        told.quote_ttl
    };
    let whole = CenterSettings {
        purchase_amount_max: told.purchase_amount_max.clone().or(base.purchase_amount_max),
        remittance_amount_max: told.remittance_amount_max.clone().or(base.remittance_amount_max),
        balance_cap: told.balance_cap.clone().or(base.balance_cap),
        festival_bonus: told.festival_bonus.clone().or(base.festival_bonus),
        quote_ttl,
        payment_count_max: match told.payment_count_max {
            0 => base.payment_count_max,
            told => told,
        },
        screening: told.screening.or(base.screening),
        ..told.clone()
    };
    let mut settings = whole_settings_in(&whole, currency, &defaults.spending)?;
    for (tier, limit) in defaults.tier_limits {
        settings.tier_limits.entry(tier).or_insert(limit);
    }
    Ok(settings)
}

/// Reads rules that replace others: all of them are told, but for those of `spending`, which stay if they are not.
fn whole_settings_in(told: &CenterSettings, currency: Currency, spending: &SpendingRules) -> Result<Settings, Refusal> {
    let amount = |money: &Option<proto::Money>, field: &str| positive_amount_in(money.as_ref(), currency, field);
    let mut settings = Settings {
        purchase_amount_max: amount(&told.purchase_amount_max, "settings.purchase_amount_max")?,
        remittance_amount_max: amount(&told.remittance_amount_max, "settings.remittance_amount_max")?,
        balance_cap: amount(&told.balance_cap, "settings.balance_cap")?,
        festival_bonus: amount_in(told.festival_bonus.as_ref(), currency, "settings.festival_bonus")?,
        quote_ttl_s: match told.quote_ttl {
            seconds @ 1.. => seconds,
            _ => return Err(invalid_field("settings.quote_ttl", "must be above zero")),
        },
        payment_count_max: within(
            told.payment_count_max,
            Settings::UNLIMITED,
            "settings.payment_count_max",
        )?,
        screening: screening_in(told.screening.as_ref())?,
        festival_months: Vec::new(),
        tier_limits: BTreeMap::new(),
        spending: match &told.spending {
            Some(told) => spending_in(told, currency)?,
            None => spending.clone(),
        },
    };
    for month in &told.festival_months {
        match i16::try_from(*month) {
            Ok(month @ 1..=12) => settings.festival_months.push(month),
            _ => return Err(invalid_field("settings.festival_months", "months are 1 to 12")),
        }
    }
    for (index, limit) in told.tier_limits.iter().enumerate() {
        let field = |name: &str| format!("settings.tier_limits[{index}].{name}");
        let tier = tier_in(limit.tier, &field("tier"))?;
        let limit = amount_in(limit.amount.as_ref(), currency, &field("amount"))?;
        if settings.tier_limits.insert(tier, limit).is_some() {
            return Err(invalid_field(field("tier"), "is told twice"));
        }
    }
    require_known_tiers(&settings)?;
    Ok(settings)
}

/// Reads a number from 1 to a most.
fn within(number: i32, most: i32, field: &str) -> Result<i32, Refusal> {
    if (1..=most).contains(&number) {
        Ok(number)
    } else {
        Err(invalid_field(field, format!("must be 1 to {most}")))
    }
}

/// Reads when a payment is held for review.
fn screening_in(told: Option<&ScreeningSettings>) -> Result<Screening, Refusal> {
    let told = told.ok_or_else(|| invalid_field("settings.screening", "is required"))?;
    let number = |number, most, name: &str| within(number, most, &format!("settings.screening.{name}"));
    Ok(Screening {
        payment_max: number(told.payment_max, Settings::UNLIMITED, "payment_max")?,
        payment_days: number(told.payment_days, SCREENING_DAYS_MAX, "payment_days")?,
        payer_max: number(told.payer_max, Settings::UNLIMITED, "payer_max")?,
        detainee_max: number(told.detainee_max, Settings::UNLIMITED, "detainee_max")?,
        party_days: number(told.party_days, SCREENING_DAYS_MAX, "party_days")?,
        review_hours: number(told.review_hours, REVIEW_HOURS_MAX, "review_hours")?,
    })
}

/// Refuses rules without a tier that there was: people may be in it, and could buy nothing.
fn require_tiers(before: &Settings, after: &Settings) -> Result<(), Refusal> {
    let missing = before
        .tier_limits
        .keys()
        .find(|tier| !after.tier_limits.contains_key(tier));
    match missing {
        None => Ok(()),
        Some(tier) => Err(invalid_field("settings.tier_limits", format!("tier {tier} is missing"))),
    }
}

fn tier_in(tier: i32, field: &str) -> Result<i16, Refusal> {
    match i16::try_from(tier) {
        Ok(tier @ 1..) => Ok(tier),
        _ => Err(invalid_field(field, "tiers are numbered from 1")),
    }
}

/// The rules as they are told, without name and etag.
fn settings_money(settings: &Settings) -> CenterSettings {
    CenterSettings {
        name: String::new(),
        purchase_amount_max: money(settings.purchase_amount_max),
        tier_limits: settings
            .tier_limits
            .iter()
            .map(|(tier, limit)| TierLimit {
                tier: i32::from(*tier),
                amount: money(*limit),
            })
            .collect(),
        festival_bonus: money(settings.festival_bonus),
        festival_months: settings.festival_months.iter().copied().map(i32::from).collect(),
        remittance_amount_max: money(settings.remittance_amount_max),
        balance_cap: money(settings.balance_cap),
        quote_ttl: settings.quote_ttl_s,
        etag: String::new(),
        payment_count_max: settings.payment_count_max,
        screening: Some(ScreeningSettings {
            payment_max: settings.screening.payment_max,
            payment_days: settings.screening.payment_days,
            payer_max: settings.screening.payer_max,
            detainee_max: settings.screening.detainee_max,
            party_days: settings.screening.party_days,
            review_hours: settings.screening.review_hours,
        }),
        spending: Some(spending_out(&settings.spending)),
    }
}

fn settings_out(center: &CenterId, settings: &Settings) -> CenterSettings {
    let mut out = CenterSettings {
        name: SettingsName {
            center: center.as_str(),
        }
        .to_string(),
        ..settings_money(settings)
    };
    // The etag is of the content: rules that were changed and changed back are the same rules.
    let digest = Sha256::digest(prost::Message::encode_to_vec(&out));
    out.etag = hex::encode(digest.iter().copied().take(8).collect::<Vec<u8>>());
    out
}

fn center_out(profile: &CenterProfile) -> proto::Center {
    proto::Center {
        name: CenterName {
            center: profile.id.as_str(),
        }
        .to_string(),
        display_name: profile.name.clone(),
        display_name_zh: profile.name_zh.clone(),
        time_zone: profile.time_zone.clone(),
        currency_code: profile.currency.code().to_owned(),
        settings: Some(settings_out(&profile.id, &profile.settings)),
        create_time: timestamp(profile.created_at),
    }
}

/// The name of a stay in whatever center.
fn stay_name(stay: &custody::Stay) -> String {
    DetaineeName {
        center: stay.center.as_str(),
        detainee: stay.detainee.as_str(),
    }
    .to_string()
}

/// Reads a person who is admitted.
pub(super) fn admission_in(id: &str, told: Option<&Detainee>) -> Result<Admission, Refusal> {
    let told = told.ok_or_else(|| invalid_field("detainee", "is required"))?;
    Ok(Admission {
        id: typed(DetaineeId::parse(id), "detainee_id")?,
        name: text(&told.display_name, "detainee.display_name")?,
        name_zh: text(&told.display_name_zh, "detainee.display_name_zh")?,
        tier: tier_in(told.tier, "detainee.tier")?,
        birth_date: match told.birth_date.as_str() {
            "" => None,
            text => Some(name::date(text, "detainee.birth_date")?),
        },
    })
}

pub(super) fn detainee_out(detainee: &custody::Detainee, center: &Center) -> Detainee {
    let state = match detainee.state {
        DetaineeState::Active => proto::detainee::State::Active,
        DetaineeState::Releasing => proto::detainee::State::Releasing,
        DetaineeState::Released => proto::detainee::State::Released,
        DetaineeState::Deceased => proto::detainee::State::Deceased,
        DetaineeState::Escaped => proto::detainee::State::Escaped,
        DetaineeState::Merged => proto::detainee::State::Merged,
        DetaineeState::Transferred => proto::detainee::State::Transferred,
    };
    Detainee {
        name: DetaineeName {
            center: center.id.as_str(),
            detainee: detainee.id.as_str(),
        }
        .to_string(),
        display_name: detainee.name.clone(),
        display_name_zh: detainee.name_zh.clone(),
        tier: i32::from(detainee.tier),
        state: state.into(),
        admit_time: timestamp(detainee.admitted_at),
        birth_date: detainee.birth_date.map(name::format_date).unwrap_or_default(),
        convicted: detainee.is_convicted,
        went_to: detainee.went_to.as_ref().map(stay_name).unwrap_or_default(),
        came_from: detainee.came_from.as_ref().map(stay_name).unwrap_or_default(),
    }
}

fn line_out(line: Line, center: &Center) -> StatementLine {
    // The account is the detainee's: a credit is money in, a debit is money out.
    let signed = match line.side {
        Side::Credit => Some(line.amount),
        Side::Debit => Amount::zero(center.currency).checked_sub(line.amount).ok(),
    };
    let id = center.id.as_str();
    StatementLine {
        seq: line.position.seq.0,
        leg: i32::from(line.position.leg),
        recorded_at: timestamp(line.recorded_at),
        effective_date: line.effective_date.to_string(),
        kind: record::kind_of(&line.kind).into(),
        amount: signed.and_then(money),
        balance: money(line.balance),
        counterparty: line.counterparty.title(),
        transaction: TransactionName {
            center: id,
            seq: line.position.seq.0,
        }
        .to_string(),
    }
}

fn account_of([available, held, savings, withheld]: [AccountNo; 4], account: DetaineeAccount) -> AccountNo {
    match account {
        DetaineeAccount::Unspecified | DetaineeAccount::Available => available,
        DetaineeAccount::Held => held,
        DetaineeAccount::Savings => savings,
        DetaineeAccount::Withheld => withheld,
    }
}

#[tonic::async_trait]
impl CustodyService for CustodyApi {
    async fn create_center(&self, call: Request<CreateCenterRequest>) -> Result<Response<proto::Center>, Status> {
        actor(&call)?
            .require_all_centers()
            .map_err(|denied| denied_status(&denied))?;
        let message = call.get_ref();
        let told = message
            .center
            .as_ref()
            .ok_or_else(|| invalid_field("center", "is required"))?;
        let currency = typed(Currency::parse(&told.currency_code), "center.currency_code")?;
        let zone = typed(Zone::parse(&told.time_zone), "center.time_zone")?;
        let defaults = typed(Settings::defaults(currency), "center.settings")?;
        let none = CenterSettings::default();
        let new = NewCenter {
            id: typed(CenterId::parse(&message.center_id), "center_id")?,
            name: text(&told.display_name, "center.display_name")?,
            name_zh: text(&told.display_name_zh, "center.display_name_zh")?,
            time_zone: zone.name().to_owned(),
            settings: settings_in(told.settings.as_ref().unwrap_or(&none), defaults, currency)?,
            by: actor(&call)?.name(),
        };
        Ok(Response::new(center_out(&self.custody.create_center(new).await?)))
    }

    async fn get_center(&self, call: Request<GetCenterRequest>) -> Result<Response<proto::Center>, Status> {
        let name = CenterName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        Ok(Response::new(center_out(&self.custody.profile(&center.id).await?)))
    }

    async fn list_centers(&self, call: Request<ListCentersRequest>) -> Result<Response<ListCentersResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let page = Page::read("ListCenters", &[], message.page_size, &message.page_token)?;
        let centers = match &actor.scope.center {
            Some(own) => vec![self.custody.profile(own).await?],
            None => {
                self.custody
                    .list_centers(page.after().unwrap_or_default(), page.limit())
                    .await?
            }
        };
        let (centers, next_page_token) = page.finish(centers, |profile| profile.id.to_string());
        Ok(Response::new(ListCentersResponse {
            centers: centers.iter().map(center_out).collect(),
            next_page_token,
        }))
    }

    async fn update_center_settings(
        &self,
        call: Request<UpdateCenterSettingsRequest>,
    ) -> Result<Response<CenterSettings>, Status> {
        let told = call
            .get_ref()
            .settings
            .as_ref()
            .ok_or_else(|| invalid_field("settings", "is required"))?;
        let name = SettingsName::parse(&told.name, "settings.name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let change = |before: Settings| {
            if !told.etag.is_empty() && told.etag != settings_out(&center.id, &before).etag {
                let message = "the settings were changed since they were read";
                return Err(Refusal::because(Reason::StaleEtag, message).about("settings.etag"));
            }
            let after = whole_settings_in(told, center.currency, &before.spending)?;
            require_tiers(&before, &after)?;
            Ok(after)
        };
        let by = actor(&call)?.name();
        let changed = self.custody.change_settings(&center.id, &by, change).await?;
        Ok(Response::new(settings_out(&changed.id, &changed.settings)))
    }

    async fn admit_detainee(&self, call: Request<AdmitDetaineeRequest>) -> Result<Response<Detainee>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let admission = admission_in(&message.detainee_id, message.detainee.as_ref())?;
        Ok(Response::new(detainee_out(
            &self.custody.admit(&center, admission).await?,
            &center,
        )))
    }

    async fn get_detainee(&self, call: Request<GetDetaineeRequest>) -> Result<Response<Detainee>, Status> {
        let actor = actor(&call)?;
        let name = DetaineeName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = scope::detainee(&self.linked, actor, &center, name.detainee, "name").await?;
        let mut detainee = detainee_out(&self.custody.detainee(&center, &id).await?, &center);
        if actor.confined_to_payer().is_some() {
            detainee.birth_date.clear();
        }
        Ok(Response::new(detainee))
    }

    async fn list_detainees(
        &self,
        call: Request<ListDetaineesRequest>,
    ) -> Result<Response<ListDetaineesResponse>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let page = Page::read(
            "ListDetainees",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let detainees = self
            .custody
            .list_detainees(&center, page.after().unwrap_or_default(), page.limit())
            .await?;
        let (detainees, next_page_token) = page.finish(detainees, |detainee| detainee.id.to_string());
        let detainees = detainees
            .iter()
            .map(|detainee| detainee_out(detainee, &center))
            .collect();
        Ok(Response::new(ListDetaineesResponse {
            detainees,
            next_page_token,
        }))
    }

    async fn get_balances(&self, call: Request<GetBalancesRequest>) -> Result<Response<Balances>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = scope::detainee(&self.linked, actor, &center, name.detainee, "detainee").await?;
        let balances = self.custody.balances(&center, &id).await?;
        let all = [balances.available, balances.held, balances.savings, balances.withheld];
        Ok(Response::new(Balances {
            detainee: message.detainee.clone(),
            available: money(balances.available),
            held: money(balances.held),
            savings: money(balances.savings),
            withheld: money(balances.withheld),
            total: Amount::sum(all, center.currency).ok().and_then(money),
            as_of_seq: balances.as_of.0,
        }))
    }

    async fn list_statement_lines(
        &self,
        call: Request<ListStatementLinesRequest>,
    ) -> Result<Response<ListStatementLinesResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = scope::detainee(&self.linked, actor, &center, name.detainee, "parent").await?;
        let accounts = self.custody.accounts(&center, &id).await?;
        let arguments = [message.parent.as_str(), message.account().as_str_name()];
        let page = Page::read("ListStatementLines", &arguments, message.page_size, &message.page_token)?;
        let of = PageOf {
            account: account_of(accounts, message.account()),
            after: page.after_leg()?.map(|(seq, leg)| Position { seq: Seq(seq), leg }),
            limit: page.limit(),
            center: center.clone(),
        };
        let lines = self.custody.statement(of).await?;
        let (lines, next_page_token) = page.finish(lines, |line| leg_cursor(line.position.seq.0, line.position.leg));
        let statement_lines = lines.into_iter().map(|line| line_out(line, &center));
        let statement_lines = statement_lines.collect();
        Ok(Response::new(ListStatementLinesResponse {
            statement_lines,
            next_page_token,
        }))
    }

    async fn change_legal_status(&self, call: Request<ChangeLegalStatusRequest>) -> Result<Response<Detainee>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = typed(DetaineeId::parse(name.detainee), "detainee")?;
        let document = told(&message.document, "document")?;
        let by = actor.name();
        let changed = self
            .custody
            .change_legal_status(&center, &id, message.convicted, &document, &by)
            .await?;
        Ok(Response::new(detainee_out(&changed, &center)))
    }
}
