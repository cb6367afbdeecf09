//! Bringing a database up to date, as its owner, before the service uses it under its own role.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

use super::constraint;

/// The role the service acts as. It owns nothing and cannot change the journal.
pub(super) const SERVICE_ROLE: &str = "custody_service";
/// PostgreSQL 15, as `server_version_num` writes it.
const VERSION_MIN: i32 = 150_000;

/// How long a database may take to come up, in seconds.
const START_WAIT_S: u64 = 60;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Creates the service's role if it is missing and applies the migrations that are. Safe when several processes start at
/// once: they take turns. Needs a login that may create roles, or a role that exists already and was granted.
pub async fn migrate(url: &str) -> anyhow::Result<()> {
    let options = super::options(url)?;
    let mut conn = connect(&options).await.context("the database cannot be reached")?;
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut conn)
        .await?;
    ensure!(
        version >= VERSION_MIN,
        "PostgreSQL 15 or newer is needed; this one says {version}"
    );
    ensure_role(&mut conn)
        .await
        .context("the role custody_service cannot be created; have its owner create it")?;
    MIGRATIONS.run(&mut conn).await.context("a migration failed")?;
    conn.close().await?;
    Ok(())
}

/// Connects, and waits for a database that is starting or recovering.
async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let started = Instant::now();
    let mut is_waiting = false;
    loop {
        match PgConnection::connect_with(options).await {
            Err(error) if constraint::is_connection_lost(&error) && started.elapsed().as_secs() < START_WAIT_S => {
                // Said once: the URL may be wrong.
                if !is_waiting {
                    tracing::warn!(%error, "the database cannot be reached; waiting up to {START_WAIT_S} s for it");
                    is_waiting = true;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            connected => return connected,
        }
    }
}

async fn ensure_role(conn: &mut PgConnection) -> sqlx::Result<()> {
    // Roles belong to the whole cluster, so two databases may be migrated at once: "exists already" is as good.
    sqlx::raw_sql(
        "do $$ begin
             if not exists (select from pg_roles where rolname = 'custody_service') then
                 create role custody_service nologin;
             end if;
         exception when duplicate_object or unique_violation then null;
         end $$;
         do $$ begin
             if not pg_has_role(current_user, 'custody_service', 'member') then
                 execute format('grant custody_service to %I', current_user);
             end if;
         exception when unique_violation then null;
         end $$;",
    )
    .execute(conn)
    .await?;
    Ok(())
}
