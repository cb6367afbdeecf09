//! Refusals of this domain, each with its facts.

use super::ItemId;
use crate::ledger::{LedgerError, Reason, Refusal};

/// Why something about a work item is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkRefusal {
    /// No such item.
    #[error("work item {item} does not exist")]
    NotFound {
        /// The id asked for.
        item: ItemId,
    },
    /// It is done or cancelled.
    #[error("work item {item} has ended already")]
    Closed {
        /// The item.
        item: ItemId,
    },
    /// It waits for money.
    #[error("work item {item} ends when its money moves")]
    EndedByMoney {
        /// The item.
        item: ItemId,
    },
}

impl From<WorkRefusal> for Refusal {
    fn from(refusal: WorkRefusal) -> Refusal {
        use WorkRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotFound { item } => because(Reason::NotFound).with_fact("work_item", item).about("name"),
            R::Closed { item } => because(Reason::WorkItemClosed).with_fact("work_item", item),
            R::EndedByMoney { item } => because(Reason::EndedByMoney).with_fact("work_item", item),
        }
    }
}

impl From<WorkRefusal> for LedgerError {
    fn from(refusal: WorkRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
