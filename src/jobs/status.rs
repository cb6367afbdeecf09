//! Whether the jobs run: when each last looked at a center, how that ended, and when it should have at the latest.
//!
//! A job writes that down at most every [`WRITE_S`] seconds, or when it changes for the better or the worse. Nobody has to be told
//! that a job died: its time passes, and whoever asks sees it, in whatever process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge},
};
use time::{Duration, OffsetDateTime};

use super::store;
use crate::{
    clock::Clock,
    db::Database,
    ids::CenterNo,
    ledger::{Center, LedgerError},
};

/// How often a job that goes on well is written down, in seconds.
const WRITE_S: i64 = 30;

/// Something that runs by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub name: &'static str,
    /// What it does, in English.
    pub title: &'static str,
    /// What it does, in Chinese.
    pub title_zh: &'static str,
    /// The pause between two looks, in seconds.
    pub every_s: i64,
    /// After how long without success it is overdue, in seconds.
    pub overdue_s: i64,
}

/// Asks about orders, and closes those that were not paid in time.
pub const ORDERS: Job = Job {
    name: "orders",
    title: "ask gateways about orders, and expire them",
    title_zh: "查询订单并关闭过期订单",
    every_s: 5,
    overdue_s: 300,
};
/// Brings refunds further.
pub const REFUNDS: Job = Job {
    name: "refunds",
    title: "take refunds to gateways, and ask about them",
    title_zh: "提交并查询退款",
    every_s: 5,
    overdue_s: 300,
};
/// Sends back what goes back by itself.
pub const RETURNS: Job = Job {
    name: "returns",
    title: "return what is over the cap, or was not released in time",
    title_zh: "退回超限及审核超时汇款",
    every_s: 5,
    overdue_s: 300,
};
/// Sends back what has been in suspense for as long as people had to find its owner.
pub const AGED: Job = Job {
    name: "aged",
    title: "return what has been in suspense for seven days",
    title_zh: "退回挂账满七日款项",
    every_s: 5,
    overdue_s: 300,
};
/// Runs what was allowed and did not run, and ends what nobody decided in time.
pub const APPROVALS: Job = Job {
    name: "approvals",
    title: "run what was approved, and expire what nobody decided",
    title_zh: "执行已批准事项并关闭过期审批",
    every_s: 5,
    overdue_s: 300,
};
/// Gives back what is held for orders that did not come in time.
pub const HOLDS: Job = Job {
    name: "holds",
    title: "give back what is held for orders that did not come in time",
    title_zh: "释放逾期未送达订单的冻结款",
    every_s: 5,
    overdue_s: 300,
};
/// Releases money that terminals did not sell in time, and takes in what waits although it is its turn.
pub const ALLOWANCES: Job = Job {
    name: "allowances",
    title: "release what terminals did not sell in time",
    title_zh: "释放离线终端到期额度",
    every_s: 5,
    overdue_s: 300,
};
/// Reminds of money that nobody collects.
pub const ENDINGS: Job = Job {
    name: "endings",
    title: "remind of unclaimed money after 7, 30 and 90 days and a year",
    title_zh: "未领款联系及满一年提醒",
    every_s: 30,
    overdue_s: 600,
};
/// Sends late money after detainees who moved.
pub const LATE_MONEY: Job = Job {
    name: "late_money",
    title: "forward what comes for detainees who moved",
    title_zh: "转寄转所人员的迟到款项",
    every_s: 5,
    overdue_s: 300,
};
/// All of them.
pub const JOBS: [Job; 9] = [
    ORDERS, REFUNDS, RETURNS, AGED, APPROVALS, HOLDS, ALLOWANCES, ENDINGS, LATE_MONEY,
];

/// How a job stands in a center.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The job.
    pub job: Job,
    /// When it last looked; none if it never did.
    pub last_run_at: Option<OffsetDateTime>,
    /// When it last looked and nothing failed.
    pub last_success_at: Option<OffsetDateTime>,
    /// Why its last look failed; empty when it did not.
    pub last_error: String,
    /// When it is to look again.
    pub next_due_at: OffsetDateTime,
    /// Whether it has not succeeded for longer than it may.
    pub overdue: bool,
}

/// What is stored of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub last_run_at: OffsetDateTime,
    pub last_success_at: Option<OffsetDateTime>,
    pub last_error: String,
}

fn status(job: Job, stored: Option<&Stored>, now: OffsetDateTime) -> Status {
    let last_success_at = stored.and_then(|stored| stored.last_success_at);
    let due = stored.map_or(now, |stored| stored.last_run_at + Duration::seconds(job.every_s));
    Status {
        job,
        last_run_at: stored.map(|stored| stored.last_run_at),
        last_success_at,
        last_error: stored.map(|stored| stored.last_error.clone()).unwrap_or_default(),
        next_due_at: due,
        overdue: last_success_at.is_none_or(|at| now - at > Duration::seconds(job.overdue_s)),
    }
}

/// How all jobs stand in a center.
pub async fn all(database: &Database, center: &Center, now: OffsetDateTime) -> Result<Vec<Status>, LedgerError> {
    let mut conn = database.read.acquire().await?;
    let mut stored = store::stored(&mut conn, center.no).await?;
    Ok(JOBS
        .map(|job| status(job, stored.remove(job.name).as_ref(), now))
        .into())
}

/// When each job of each center was last written down, and with which error.
type Written = HashMap<(CenterNo, &'static str), (OffsetDateTime, String)>;

/// Writes down what this process's jobs do.
#[derive(Clone)]
pub struct Watched {
    database: Database,
    clock: Clock,
    written: Arc<Mutex<Written>>,
    looks: Counter<u64>,
    succeeded: Gauge<i64>,
}

impl Watched {
    /// Over the database that is asked.
    pub fn new(database: Database, clock: Clock) -> Watched {
        let meter = global::meter("custody");
        Watched {
            database,
            clock,
            written: Arc::default(),
            looks: meter
                .u64_counter("custody.job.looks")
                .with_description("Looks of jobs at centers, by job and outcome: OK or FAILED.")
                .build(),
            succeeded: meter
                .i64_gauge("custody.job.last_success")
                .with_unit("s")
                .with_description(
                    "When a job last succeeded in a center, in seconds since 1970. What does not grow is dead.",
                )
                .build(),
        }
    }

    /// A job has looked at a center; `error` is empty if all went well.
    pub async fn looked(&self, center: &Center, job: &Job, error: &str) {
        let now = self.clock.now();
        let outcome = if error.is_empty() { "OK" } else { "FAILED" };
        self.looks
            .add(1, &[KeyValue::new("job", job.name), KeyValue::new("outcome", outcome)]);
        if error.is_empty() {
            let about = [
                KeyValue::new("job", job.name),
                KeyValue::new("center", center.id.to_string()),
            ];
            self.succeeded.record(now.unix_timestamp(), &about);
        }
        if !self.is_news(center.no, job, now, error) {
            return;
        }
        let stored = Stored {
            last_run_at: now,
            last_success_at: error.is_empty().then_some(now),
            last_error: error.to_owned(),
        };
        let written = async {
            let mut conn = self.database.lane.acquire().await?;
            store::put(&mut conn, center.no, job.name, &stored).await
        };
        if let Err(error) = written.await {
            tracing::warn!(center = %center.id, job = job.name, %error, "that a job has run cannot be written down");
        }
    }

    fn is_news(&self, center: CenterNo, job: &Job, now: OffsetDateTime, error: &str) -> bool {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = written
            .get(&(center, job.name))
            .is_some_and(|(at, told)| (now - *at).abs() < Duration::seconds(WRITE_S) && told == error);
        if !fresh {
            written.insert((center, job.name), (now, error.to_owned()));
        }
        !fresh
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_did_not_succeed_for_too_long_is_overdue() {
        let now = datetime!(2031-05-06 07:00:00 UTC);
        assert!(status(ORDERS, None, now).overdue, "it never ran");
        let ago = |s| now - Duration::seconds(s);
        let stored = |run, success: Option<i64>, error: &str| Stored {
            last_run_at: ago(run),
            last_success_at: success.map(ago),
            last_error: error.to_owned(),
        };
        let well = status(ORDERS, Some(&stored(5, Some(5), "")), now);
        assert!(!well.overdue && well.next_due_at == now);
        assert!(!status(ORDERS, Some(&stored(5, Some(300), "down")), now).overdue);
        assert!(
            status(ORDERS, Some(&stored(5, Some(301), "down")), now).overdue,
            "it runs, and fails"
        );
        assert!(status(ORDERS, Some(&stored(5, None, "down")), now).overdue);
    }
}
