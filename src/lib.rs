//! A cashless detention-center ledger.
