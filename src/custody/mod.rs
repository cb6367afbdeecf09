//! Centers, their rules, and the people held in them.

mod books;
mod category;
mod entity;
mod error;
mod moving;
mod readmission;
pub mod room;
mod spending;
mod store;
mod verify;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use books::Books;
pub use category::Category;
pub use entity::{CenterProfile, Detainee, DetaineeState, Screening, Settings, SpendingVersion, Stay};
pub use error::CustodyRefusal;
pub use moving::{center_in_tx, leave_in_tx, receive_in_tx, require_tier_in_tx, where_now_in_tx};
pub use spending::{SpendingRules, TierWindows};
use time::{Date, Duration, OffsetDateTime};
pub use verify::DetaineesCheck;

use crate::{
    clock::Clock,
    db::{self, Conn, Database},
    ids::{AccountNo, CenterId, CenterNo, DetaineeId, Seq},
    ledger::{
        Center, Declined, LedgerError, Refusal, center,
        statement::{Line, PageOf},
    },
    money::Amount,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Custody {
    database: Database,
    clock: Clock,
    // A center's number, currency and zone never change, so what is found once is kept.
    centers: Arc<RwLock<HashMap<CenterId, Center>>>,
    books: Books,
}

/// What is told when a center is created.
pub struct NewCenter {
    /// Its id.
    pub id: CenterId,
    /// Its names.
    pub name: String,
    /// In Chinese.
    pub name_zh: String,
    /// IANA name of its zone, already known to be one.
    pub time_zone: String,
    /// Its rules, which also tell its currency.
    pub settings: Settings,
    /// Who creates it.
    pub by: String,
}

/// What is told when a detainee is admitted.
pub struct Admission {
    /// The custody number.
    pub id: DetaineeId,
    /// The person's name.
    pub name: String,
    /// In Chinese.
    pub name_zh: String,
    /// The regime tier, which sets the monthly spending limit.
    pub tier: i16,
    /// When the person was born; money without an order is matched by it.
    pub birth_date: Option<Date>,
}

/// A detainee's four balances.
#[derive(Debug, Clone, Copy)]
pub struct Balances {
    /// Can be spent.
    pub available: Amount,
    /// Set aside for orders.
    pub held: Amount,
    /// Saved.
    pub savings: Amount,
    /// Withheld by authority.
    pub withheld: Amount,
    /// The last transaction they include.
    pub as_of: crate::ids::Seq,
}

impl Custody {
    /// The domain over a database.
    pub fn new(database: Database, clock: Clock) -> Custody {
        let books = Books::new(database.clone());
        Custody {
            books,
            database,
            clock,
            centers: Arc::default(),
        }
    }

    /// Creates a center with an empty journal. The same center again is answered with what is there.
    pub async fn create_center(&self, new: NewCenter) -> Result<CenterProfile, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        let existing = store::profile(&mut tx, new.id.as_str()).await?;
        if let Some(existing) = existing {
            let same = existing.name == new.name
                && existing.name_zh == new.name_zh
                && existing.time_zone == new.time_zone
                && existing.settings == new.settings;
            return if same {
                Ok(existing)
            } else {
                Err(CustodyRefusal::AlreadyExists.into())
            };
        }
        let now = self.clock.now();
        let opened = center::open_in_tx(
            &mut tx,
            center::NewCenter {
                id: &new.id,
                name: &new.name,
                name_zh: &new.name_zh,
                time_zone: &new.time_zone,
                currency: new.settings.purchase_amount_max.currency(),
                at: now,
            },
        )
        .await;
        let no = match opened {
            Err(error)
                if error.as_database_error().and_then(|error| error.constraint()) == Some("center_code_unique") =>
            {
                return Err(CustodyRefusal::AlreadyExists.into());
            }
            opened => opened?,
        };
        store::insert_settings(&mut tx, no, &new.settings).await?;
        spending::store::insert(&mut tx, no, &new.settings, (1, Seq::ZERO), (now, &new.by)).await?;
        tx.commit().await?;
        self.profile(&new.id).await
    }

    /// A center with its rules.
    pub async fn profile(&self, id: &CenterId) -> Result<CenterProfile, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        let profile = store::profile(&mut conn, id.as_str()).await?;
        profile.ok_or_else(|| CustodyRefusal::CenterNotFound { center: id.clone() }.into())
    }

    /// Up to `limit` centers after an id, in the order of their ids.
    pub async fn list_centers(&self, after: &str, limit: i64) -> Result<Vec<CenterProfile>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::list_profiles(&mut conn, after, limit).await?)
    }

    /// Replaces a center's rules. What is decided from now on is decided by the new ones.
    pub async fn update_settings(
        &self,
        id: &CenterId,
        by: &str,
        settings: Settings,
    ) -> Result<CenterProfile, LedgerError> {
        self.change_settings(id, by, |_| Ok(settings)).await
    }

    /// Changes a center's rules to what `change` makes of those that hold. Nobody else can change them in between, so
    /// that `change` may refuse rules that are not those the caller has read.
    pub async fn change_settings(
        &self,
        id: &CenterId,
        by: &str,
        change: impl FnOnce(Settings) -> Result<Settings, Refusal>,
    ) -> Result<CenterProfile, LedgerError> {
        let center = self.center(id).await?;
        let mut tx = self.database.lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        let before = store::settings(&mut tx, &center).await?;
        let settings = change(before.clone())?;
        if settings.purchase_amount_max.currency() != center.currency {
            return Err(CustodyRefusal::CurrencyMismatch {
                expected: center.currency.code().to_owned(),
            }
            .into());
        }
        store::update_settings(&mut tx, center.no, &settings).await?;
        if !settings.spends_as(&before) {
            let version = spending::store::last_version(&mut tx, center.no).await? + 1;
            let at = self.after(head.recorded_at);
            spending::store::insert(&mut tx, center.no, &settings, (version, head.seq), (at, by)).await?;
        }
        tx.commit().await?;
        self.profile(id).await
    }

    /// Now, but after the last transaction, whatever the clocks of other processes say.
    fn after(&self, recorded_at: OffsetDateTime) -> OffsetDateTime {
        self.clock.now().max(recorded_at + Duration::MICROSECOND)
    }

    /// Up to `limit` versions of a center's rules of spending before a version, newest first.
    pub async fn spending_versions(
        &self,
        center: &Center,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<SpendingVersion>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(spending_versions_in_tx(&mut conn, center, before, limit).await?)
    }

    /// What the ledger knows of a center; found once and kept.
    pub async fn center(&self, id: &CenterId) -> Result<Center, LedgerError> {
        let known = self
            .centers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned();
        if let Some(center) = known {
            return Ok(center);
        }
        let mut conn = self.database.read.acquire().await?;
        let center = store::center(&mut conn, id.as_str())
            .await?
            .ok_or_else(|| CustodyRefusal::CenterNotFound { center: id.clone() })?;
        self.centers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), center.clone());
        Ok(center)
    }

    /// The center of a number, as order numbers at gateways tell it; none if there is no such center.
    pub async fn center_of_number(&self, no: CenterNo) -> Result<Option<Center>, LedgerError> {
        let known = self
            .centers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .find(|center| center.no == no)
            .cloned();
        match known {
            Some(center) => Ok(Some(center)),
            None => Ok(self.all_centers().await?.into_iter().find(|center| center.no == no)),
        }
    }

    /// Every center, for jobs and verification, in the order of their numbers.
    pub async fn all_centers(&self) -> Result<Vec<Center>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::all_centers(&mut conn).await?)
    }

    /// Admits a detainee: opens four accounts. The same admission again is answered with what is there.
    pub async fn admit(&self, center: &Center, admission: Admission) -> Result<Detainee, LedgerError> {
        let mut admitted = self.admit_all(center, vec![admission]).await?;
        admitted.pop().ok_or(LedgerError::Internal)
    }

    /// Admits many in one transaction, as [`Custody::admit`] does one: all of them or none.
    pub async fn admit_all(&self, center: &Center, admissions: Vec<Admission>) -> Result<Vec<Detainee>, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let mut admitted = Vec::with_capacity(admissions.len());
        for admission in admissions {
            admitted.push(self.admit_in_tx(&mut tx, center, admission).await?);
        }
        tx.commit().await?;
        Ok(admitted)
    }

    async fn admit_in_tx(
        &self,
        conn: &mut Conn,
        center: &Center,
        admission: Admission,
    ) -> Result<Detainee, LedgerError> {
        if let Some(existing) = store::detainee(conn, center.no, &admission.id).await? {
            let same = existing.name == admission.name
                && existing.name_zh == admission.name_zh
                && existing.tier == admission.tier
                && existing.birth_date == admission.birth_date;
            return if same {
                Ok(existing)
            } else {
                Err(CustodyRefusal::AlreadyExists.into())
            };
        }
        if !store::tier_exists(conn, center.no, admission.tier).await? {
            return Err(CustodyRefusal::UnknownTier { tier: admission.tier }.into());
        }
        Ok(store::insert_detainee(conn, center.no, admission, None, self.clock.now()).await?)
    }

    /// Records whether a detainee is convicted, by a document. What is so already stays as it is. Deductions made from now on
    /// follow it.
    ///
    /// Errors: NOT_FOUND.
    pub async fn change_legal_status(
        &self,
        center: &Center,
        id: &DetaineeId,
        is_convicted: bool,
        document: &str,
        by: &str,
    ) -> Result<Detainee, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let detainee = store::detainee(&mut tx, center.no, id).await?;
        let detainee = detainee.ok_or_else(|| CustodyRefusal::DetaineeNotFound { detainee: id.clone() })?;
        if detainee.is_convicted == is_convicted {
            return Ok(detainee);
        }
        let at = self.clock.now();
        store::insert_legal_status(&mut tx, center.no, id, is_convicted, document, at, by).await?;
        tx.commit().await?;
        Ok(Detainee {
            is_convicted,
            ..detainee
        })
    }

    /// A detainee.
    pub async fn detainee(&self, center: &Center, id: &DetaineeId) -> Result<Detainee, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        let detainee = store::detainee(&mut conn, center.no, id).await?;
        detainee.ok_or_else(|| CustodyRefusal::DetaineeNotFound { detainee: id.clone() }.into())
    }

    /// Up to `limit` detainees after an id, in the order of their ids.
    pub async fn list_detainees(&self, center: &Center, after: &str, limit: i64) -> Result<Vec<Detainee>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::list_detainees(&mut conn, center.no, after, limit).await?)
    }

    /// A detainee's balances and the transaction they include, from one snapshot.
    pub async fn balances(&self, center: &Center, id: &DetaineeId) -> Result<Balances, LedgerError> {
        let ([available, held, savings, withheld], as_of) = self.books.balances(center, id).await?;
        Ok(Balances {
            available,
            held,
            savings,
            withheld,
            as_of,
        })
    }

    /// The numbers of a detainee's accounts: available, held, savings and withheld. They never change.
    pub async fn accounts(&self, center: &Center, id: &DetaineeId) -> Result<[AccountNo; 4], LedgerError> {
        self.books.accounts(center, id).await
    }

    /// A page of an account's statement, oldest line first.
    pub async fn statement(&self, page: PageOf) -> Result<Vec<Line>, LedgerError> {
        self.books.statement(page).await
    }
}

/// Every center, in the order of their numbers; the error is the database's own.
pub async fn all_centers(conn: &mut Conn) -> db::Result<Vec<Center>> {
    store::all_centers(conn).await
}

/// A detainee, inside the caller's transaction.
pub async fn detainee_in_tx(conn: &mut Conn, center: &Center, id: &DetaineeId) -> db::Result<Option<Detainee>> {
    store::detainee(conn, center.no, id).await
}

/// A detainee, who must be active, inside the caller's transaction.
///
/// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE.
pub async fn active_detainee_in_tx(conn: &mut Conn, center: &Center, id: &DetaineeId) -> Result<Detainee, Declined> {
    let found = store::detainee(conn, center.no, id).await?;
    let detainee = found.ok_or_else(|| Refusal::from(CustodyRefusal::DetaineeNotFound { detainee: id.clone() }))?;
    if detainee.state == DetaineeState::Active {
        return Ok(detainee);
    }
    let (detainee, state) = (id.clone(), detainee.state.name());
    Err(Refusal::from(CustodyRefusal::DetaineeNotActive { detainee, state }).into())
}

/// Up to `limit` detainees with a custody number, however its letters are written, or with a name, in the order of their ids,
/// inside the caller's transaction.
pub async fn candidates_in_tx(
    conn: &mut Conn,
    center: &Center,
    custody_number: &str,
    name: &str,
    limit: i64,
) -> db::Result<Vec<Detainee>> {
    store::candidates(conn, center.no, custody_number, name, limit).await
}

/// A center's rules, inside the caller's transaction.
pub async fn settings_in_tx(conn: &mut Conn, center: &Center) -> db::Result<Settings> {
    store::settings(conn, center).await
}

/// Up to `limit` versions of a center's rules of spending before a version, newest first, inside the caller's transaction.
pub async fn spending_versions_in_tx(
    conn: &mut Conn,
    center: &Center,
    before: Option<i64>,
    limit: i64,
) -> db::Result<Vec<SpendingVersion>> {
    spending::store::versions(conn, center, before, limit).await
}

/// Moves a detainee to another state. The caller holds the journal's head, has it touch the rules, and commits.
pub async fn set_state_in_tx(
    conn: &mut Conn,
    center: &Center,
    id: &DetaineeId,
    state: DetaineeState,
) -> db::Result<()> {
    store::set_state(conn, center.no, id, state).await
}
