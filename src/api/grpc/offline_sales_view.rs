//! Allowances and offline sales as they are told.

use time::OffsetDateTime;

use super::{
    convert::{detainee_name, money, timestamp, transaction_name},
    name::{AllowanceName, OfflineSaleName, OfflineSettingsName, TerminalName},
};
use crate::{
    ids::TerminalId,
    ledger::Center,
    offline_sales::{self, ChainView, Outcome, Sale, SaleState, SettingsVersion, Standing},
    proto::{
        Allowance, NumberRange, OfflineChain, OfflineSale, OfflineSaleOutcome, OfflineSaleState, OfflineSettings,
        allowance::State,
    },
};

fn terminal_name(center: &Center, terminal: &str) -> String {
    let center = center.id.as_str();
    TerminalName { center, terminal }.to_string()
}

fn sale_name(center: &Center, terminal: &str, number: i64) -> String {
    let (center, number) = (center.id.as_str(), number.to_string());
    OfflineSaleName {
        center,
        terminal,
        number: &number,
    }
    .to_string()
}

fn allowance_name(center: &Center, seq: i64) -> String {
    let center = center.id.as_str();
    AllowanceName { center, seq }.to_string()
}

/// What a center allows.
pub fn settings_out(found: &SettingsVersion, center: &Center) -> OfflineSettings {
    let name = OfflineSettingsName {
        center: center.id.as_str(),
    };
    OfflineSettings {
        name: name.to_string(),
        allowance_max: money(found.settings.allowance_max),
        hours_max: found.settings.hours_max.into(),
        report_hours: found.settings.report_hours.into(),
        version: found.version,
        update_time: found.set.as_ref().and_then(|(at, _)| timestamp(*at)),
        updated_by: found.set.as_ref().map(|(_, by)| by.clone()).unwrap_or_default(),
    }
}

/// An allowance as it stands.
pub fn allowance_out(found: &offline_sales::Allowance, center: &Center, now: OffsetDateTime) -> Allowance {
    let released = found.end.map(|end| end.released);
    let captured = found.amount.checked_sub(released.unwrap_or(found.remaining)).ok();
    let state = match found.end {
        Some(_) => State::Ended,
        None if now >= found.expires_at => State::Expired,
        None => State::Open,
    };
    Allowance {
        name: allowance_name(center, found.seq.0),
        terminal: terminal_name(center, found.terminal.as_str()),
        detainee: detainee_name(center, found.detainee.as_str()),
        amount: money(found.amount),
        captured: captured.and_then(money),
        remaining: money(found.remaining),
        released: money(released.unwrap_or(crate::money::Amount::zero(center.currency))),
        state: state.into(),
        expire_time: timestamp(found.expires_at),
        release_time: timestamp(found.releases_at),
        create_time: timestamp(found.reserved_at),
        transaction: transaction_name(center, found.seq.0),
        end_transaction: found
            .end
            .map(|end| transaction_name(center, end.seq.0))
            .unwrap_or_default(),
        end_reason: found.end.map(|end| end.reason.name().to_owned()).unwrap_or_default(),
    }
}

fn state_out(state: SaleState) -> OfflineSaleState {
    match state {
        SaleState::Captured => OfflineSaleState::Captured,
        SaleState::SettledLate => OfflineSaleState::SettledLate,
        SaleState::Shortage => OfflineSaleState::Shortage,
        SaleState::Review => OfflineSaleState::Review,
        SaleState::Skipped => OfflineSaleState::Skipped,
        SaleState::Charged => OfflineSaleState::Charged,
        SaleState::WrittenOff => OfflineSaleState::WrittenOff,
        SaleState::Dismissed => OfflineSaleState::Dismissed,
    }
}

/// A sale as it stands.
pub fn sale_out(sale: &Sale, center: &Center) -> OfflineSale {
    let bytes = sale.bytes.as_ref();
    let named = |told: bool, name: String| if told { name } else { String::new() };
    OfflineSale {
        name: sale_name(center, sale.terminal.as_str(), sale.number),
        state: state_out(sale.state()).into(),
        reason: sale.reason.clone(),
        message: sale.message.clone(),
        statement: bytes.map(|bytes| bytes.statement.clone()).unwrap_or_default(),
        signature: bytes.map(|bytes| bytes.signature.clone()).unwrap_or_default(),
        hash: bytes.map(|bytes| bytes.hash.to_vec()).unwrap_or_default(),
        allowance: named(sale.allowance > 0, allowance_name(center, sale.allowance)),
        detainee: named(!sale.detainee.is_empty(), detainee_name(center, &sale.detainee)),
        total: money(sale.total),
        sold_time: sale.sold_at.and_then(timestamp),
        receive_time: timestamp(sale.received_at),
        flags: sale.flags.clone(),
        transaction: transaction_name(center, sale.seq.0),
        end_transaction: sale
            .end
            .map(|(_, seq)| transaction_name(center, seq.0))
            .unwrap_or_default(),
    }
}

fn ranges(missing: &[(i64, i64)]) -> Vec<NumberRange> {
    let range = |(first, last): &(i64, i64)| NumberRange {
        first: *first,
        last: *last,
    };
    missing.iter().map(range).collect()
}

/// Where the numbers of a terminal stand.
pub fn chain_out(chain: &ChainView, center: &Center, terminal: &TerminalId) -> OfflineChain {
    OfflineChain {
        terminal: terminal_name(center, terminal.as_str()),
        last_number: chain.last,
        last_hash: chain.hash.to_vec(),
        missing: ranges(&chain.missing),
    }
}

/// What became of one sale of a stream.
pub fn outcome_out(outcome: &Outcome, position: i64, center: &Center, terminal: &TerminalId) -> OfflineSaleOutcome {
    let mut out = OfflineSaleOutcome {
        position,
        number: outcome.number,
        hash: outcome.hash.to_vec(),
        replayed: outcome.replayed,
        ..OfflineSaleOutcome::default()
    };
    match &outcome.standing {
        Standing::Taken(sale) => {
            out.set_state(state_out(sale.state()));
            out.reason.clone_from(&sale.reason);
            out.message.clone_from(&sale.message);
            out.offline_sale = sale_name(center, terminal.as_str(), sale.number);
            out.transaction = transaction_name(center, sale.seq.0);
            out.flags.clone_from(&sale.flags);
        }
        Standing::Waiting(missing) => {
            out.set_state(OfflineSaleState::Waiting);
            out.missing = ranges(missing);
        }
        Standing::Refused(why, message) => {
            out.set_state(OfflineSaleState::Refused);
            why.name().clone_into(&mut out.reason);
            out.message.clone_from(message);
        }
    }
    out
}
