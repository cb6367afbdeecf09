//! The reference terminal, as a process against the service as a process.
//!
//! # Layout
//! - `device` a terminal and its directory; `proxy` a bad network
//! - `selling` what a user types and is told; `power_cuts` killed at every point; `offline` without the network;
//!   `certificate` over TLS, with a detainee signed in; `storm`
//!   many at once, with cuts and kills

mod certificate;
mod device;
mod offline;
mod power_cuts;
mod proxy;
mod selling;
mod storm;

use custody_ledger::{clock::Clock, ledger::Center};

use crate::{
    service::Service,
    world::{self, Process, TestDatabase},
};

/// A service over a database with center C1, in which D1 to D3 have money and no limit keeps them from spending it.
async fn house() -> (TestDatabase, Service, Process, Center) {
    house_with(&[]).await
}

/// The same, of a service with further environment variables.
async fn house_with(environment: &[(&str, &str)]) -> (TestDatabase, Service, Process, Center) {
    let db = TestDatabase::create().await;
    let service = Service::start_with(Some(&db.url), environment).await;
    let process = Process::over(&db.url, Clock::system(), 4096);
    let center = world::new_center(&process, "C1").await;
    for detainee in ["D1", "D2", "D3"] {
        world::endow(&process, &center, detainee, "1000.00").await;
    }
    let mut settings = process.custody.profile(&center.id).await.unwrap().settings;
    settings.tier_limits.insert(1, world::cny("100000"));
    process
        .custody
        .update_settings(&center.id, "admin/root", settings)
        .await
        .unwrap();
    (db, service, process, center)
}
