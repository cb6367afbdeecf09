//! All SQL of the load generator, run as the database's owner.

use sqlx::{Connection as _, PgConnection};

/// Whether the bench's own cluster waits for its disk. While things are made that are not measured, it does not.
pub async fn wait_for_disk(url: &str, waits: bool) -> sqlx::Result<()> {
    let mut owner = PgConnection::connect(url).await?;
    let set = if waits {
        "alter system reset fsync"
    } else {
        "alter system set fsync = off"
    };
    sqlx::query(set).execute(&mut owner).await?;
    sqlx::query("select pg_reload_conf()").execute(&mut owner).await?;
    if waits {
        sqlx::query("checkpoint").execute(&mut owner).await?;
    }
    Ok(())
}

/// Lets nobody ask the gateway, which is not there, while notifications are measured.
pub async fn forget_polls(url: &str) -> sqlx::Result<()> {
    let mut owner = PgConnection::connect(url).await?;
    sqlx::query!("delete from remittance_poll").execute(&mut owner).await?;
    Ok(())
}

/// How many orders were credited, and how many notifications are kept as what credited one.
pub async fn credited(url: &str) -> sqlx::Result<(i64, i64)> {
    let mut owner = PgConnection::connect(url).await?;
    let row = sqlx::query!(
        r#"select (select count(*) from remittance_leg where state = 'CREDITED') as "credited!",
                  (select count(*) from notification where effect = 'CREDITED') as "kept!""#,
    )
    .fetch_one(&mut owner)
    .await?;
    Ok((row.credited, row.kept))
}
