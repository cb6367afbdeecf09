//! What the three parties of a run spend of the processor, as Linux counts it.
//!
//! Service, PostgreSQL and load generator share the machine's cores, so calls a second are bounded by the cores divided by the
//! sum of what one call costs them. These costs move far less than rates do when others use the machine too.

use std::{fs, path::Path};

use serde::Serialize;

/// The unit in which Linux tells times to programs, in microseconds.
const TICK_US: u64 = 10_000;

/// Whose times are read.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    /// The service's process.
    pub server: u32,
    /// PostgreSQL's first process, the parent of all others.
    pub postgres: u32,
}

/// Processor time spent since each process began, user and system, in microseconds; zero where there is no /proc.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    server_us: u64,
    postgres_us: u64,
    client_us: u64,
}

/// Processor time for each call, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PerCall {
    /// The service's.
    pub server: f64,
    /// PostgreSQL's, all of its processes.
    pub postgres: f64,
    /// The load generator's.
    pub client: f64,
}

impl Meter {
    /// Reads the times as they stand.
    pub fn read(self) -> Spent {
        let time = |pid: u32| stat(&pid.to_string()).map_or(0, |stat| stat.own);
        Spent {
            server_us: time(self.server) * TICK_US,
            postgres_us: family(self.postgres) * TICK_US,
            client_us: stat("self").map_or(0, |stat| stat.own) * TICK_US,
        }
    }
}

impl Spent {
    /// What was spent since an earlier reading, for each of so many calls.
    pub fn since(self, before: Spent, calls: u64) -> PerCall {
        let share = |now: u64, before: u64| {
            let each = now.saturating_sub(before) as f64 / calls.max(1) as f64;
            (each * 10.0).round() / 10.0
        };
        PerCall {
            server: share(self.server_us, before.server_us),
            postgres: share(self.postgres_us, before.postgres_us),
            client: share(self.client_us, before.client_us),
        }
    }
}

/// One process, times in ticks.
struct Stat {
    parent: u32,
    own: u64,
    /// Of the children that have ended.
    children: u64,
}

/// Reads `/proc/{process}/stat`. The name in it is in parentheses and may hold anything.
fn stat(process: &str) -> Option<Stat> {
    let text = fs::read_to_string(Path::new("/proc").join(process).join("stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        children: number(13)? + number(14)?,
    })
}

/// The ticks of a process and its children, those that have ended included.
fn family(parent: u32) -> u64 {
    let Some(first) = stat(&parent.to_string()) else {
        return 0;
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes
        .filter_map(|process| process.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|name| stat(&name))
        .filter(|child| child.parent == parent);
    first.own + first.children + children.map(|child| child.own).sum::<u64>()
}
