//! All SQL of this domain.

use std::collections::HashMap;

use sqlx::{Arguments as _, PgConnection, postgres::PgArguments};
use time::OffsetDateTime;

use super::{
    Closing, Item, ItemFilter, ItemId, ItemLeg, ItemState, NewItem, WorkKind,
    entity::{kind_name, kind_of, rules},
};
use crate::{
    ids::{CenterNo, Seq},
    ledger::{RowSet, record},
};

/// Raises an item, unless there is an open one of its kind for its subject. Another process that raises the same is waited for.
pub(super) async fn raise(conn: &mut PgConnection, center: CenterNo, new: &NewItem) -> sqlx::Result<()> {
    let opened = sqlx::query!(
        "insert into work_item_open (center_id, kind, subject, item_id, deadline_at) values ($1, $2, $3, $4, $5)
         on conflict (center_id, kind, subject) do nothing",
        center.0,
        kind_name(new.kind),
        new.subject,
        new.id.as_str(),
        new.deadline_at,
    )
    .execute(&mut *conn)
    .await?;
    if opened.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query!(
        "insert into work_item (center_id, item_id, kind, subject, priority, facts, opened_at, deadline_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        new.id.as_str(),
        kind_name(new.kind),
        new.subject,
        rules(new.kind).priority,
        record::canonical(&new.facts),
        new.opened_at,
        new.deadline_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Closes the open item of a kind for a subject, if there is one.
pub(super) async fn close(conn: &mut PgConnection, center: CenterNo, closing: &Closing<'_>) -> sqlx::Result<()> {
    let id = sqlx::query_scalar!(
        "delete from work_item_open where center_id = $1 and kind = $2 and subject = $3 returning item_id",
        center.0,
        kind_name(closing.kind),
        closing.subject,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(id) = id else {
        return Ok(());
    };
    let leg = ItemLeg {
        state: ItemState::Done,
        at: closing.at,
        actor: closing.actor.to_owned(),
        reason: closing.reason.to_owned(),
        seq: closing.seq,
    };
    put_leg(conn, center, &ItemId::read(&id), &leg).await
}

pub(super) async fn insert_leg(
    conn: &mut PgConnection,
    center: CenterNo,
    item: &Item,
    leg: &ItemLeg,
) -> sqlx::Result<()> {
    put_leg(conn, center, &item.id, leg).await
}

async fn put_leg(conn: &mut PgConnection, center: CenterNo, id: &ItemId, leg: &ItemLeg) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into work_item_leg (center_id, item_id, leg, state, at, actor, reason, seq)
         values ($1, $2, (select coalesce(max(leg), 0) + 1 from work_item_leg where center_id = $1 and item_id = $2),
                 $3, $4, $5, $6, $7)",
        center.0,
        id.as_str(),
        leg.state.name(),
        leg.at,
        leg.actor,
        leg.reason,
        leg.seq.map(|seq| seq.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete_open(
    conn: &mut PgConnection,
    center: CenterNo,
    kind: WorkKind,
    subject: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from work_item_open where center_id = $1 and kind = $2 and subject = $3",
        center.0,
        kind_name(kind),
        subject,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn open_subjects(
    conn: &mut PgConnection,
    center: CenterNo,
    kind: WorkKind,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select subject from work_item_open where center_id = $1 and kind = $2 order by subject",
        center.0,
        kind_name(kind),
    )
    .fetch_all(conn)
    .await
}

/// One item.
pub(super) async fn get(conn: &mut PgConnection, center: CenterNo, id: &ItemId) -> sqlx::Result<Option<Item>> {
    let rows = sqlx::query_as!(
        Row,
        "select item_id, kind, subject, priority, facts, opened_at, deadline_at from work_item
         where center_id = $1 and item_id = $2",
        center.0,
        id.as_str(),
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(with_legs(conn, center, rows).await?.pop())
}

/// Up to `limit` items, the one that is due first first.
pub(super) async fn list(
    conn: &mut PgConnection,
    center: CenterNo,
    filter: &ItemFilter,
    limit: i64,
) -> sqlx::Result<Vec<Item>> {
    let (after_at, after_id) = match &filter.after {
        Some((at, id)) => (*at, id.as_str()),
        None => (OffsetDateTime::UNIX_EPOCH, ""),
    };
    let kind = filter.kind.map(kind_name);
    let rows = if filter.open {
        sqlx::query_as!(
            Row,
            "select i.item_id, i.kind, i.subject, i.priority, i.facts, i.opened_at, i.deadline_at
             from work_item_open o join work_item i on i.center_id = o.center_id and i.item_id = o.item_id
             where o.center_id = $1 and (o.deadline_at, o.item_id) > ($2, $3)
               and ($4::timestamptz is null or o.deadline_at < $4)
               and ($5::text is null or o.kind = $5) and ($6::text is null or o.subject = $6)
             order by o.deadline_at, o.item_id limit $7",
            center.0,
            after_at,
            after_id,
            filter.due_before,
            kind,
            filter.subject,
            limit,
        )
        .fetch_all(&mut *conn)
        .await?
    } else {
        sqlx::query_as!(
            Row,
            "select item_id, kind, subject, priority, facts, opened_at, deadline_at from work_item
             where center_id = $1 and (deadline_at, item_id) > ($2, $3)
               and ($4::text is null or kind = $4) and ($5::text is null or subject = $5)
             order by deadline_at, item_id limit $6",
            center.0,
            after_at,
            after_id,
            kind,
            filter.subject,
            limit,
        )
        .fetch_all(&mut *conn)
        .await?
    };
    with_legs(conn, center, rows).await
}

struct Row {
    item_id: String,
    kind: String,
    subject: String,
    priority: i16,
    facts: Vec<u8>,
    opened_at: OffsetDateTime,
    deadline_at: OffsetDateTime,
}

async fn with_legs(conn: &mut PgConnection, center: CenterNo, rows: Vec<Row>) -> sqlx::Result<Vec<Item>> {
    let ids: Vec<String> = rows.iter().map(|row| row.item_id.clone()).collect();
    let told = sqlx::query!(
        "select item_id, state, at, actor, reason, seq from work_item_leg
         where center_id = $1 and item_id = any($2) order by item_id, leg",
        center.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut legs: HashMap<String, Vec<ItemLeg>> = HashMap::new();
    for row in told {
        let state = ItemState::from_name(&row.state)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown state {}", row.state).into()))?;
        legs.entry(row.item_id).or_default().push(ItemLeg {
            state,
            at: row.at,
            actor: row.actor,
            reason: row.reason,
            seq: row.seq.map(Seq),
        });
    }
    rows.into_iter()
        .map(|row| {
            let kind = kind_of(&row.kind)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown kind of work {}", row.kind).into()))?;
            Ok(Item {
                id: ItemId::read(&row.item_id),
                kind,
                subject: row.subject,
                priority: row.priority,
                facts: record::read_canonical(&row.facts)?,
                opened_at: row.opened_at,
                deadline_at: row.deadline_at,
                legs: legs.remove(&row.item_id).unwrap_or_default(),
            })
        })
        .collect()
}

/// Rows of `work_item`.
#[derive(Default)]
pub(super) struct RaisedItems(Vec<NewItem>);

impl RaisedItems {
    pub fn push(&mut self, new: NewItem) {
        self.0.push(new);
    }
}

impl RowSet for RaisedItems {
    const NAME: &'static str = "work_item";
    const SQL: &'static str = "\
        insert into work_item (center_id, item_id, kind, subject, priority, facts, opened_at, deadline_at)
        select guard.center_id, i.* from guard,
            unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::bytea[], $6::timestamptz[],
                   $7::timestamptz[]) i";
    const PARAMS: usize = 7;

    fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        let rows = &self.0;
        args.add(rows.iter().map(|row| row.id.as_str()).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| kind_name(row.kind)).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.subject.as_str()).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| rules(row.kind).priority).collect::<Vec<i16>>())?;
        args.add(
            rows.iter()
                .map(|row| record::canonical(&row.facts))
                .collect::<Vec<Vec<u8>>>(),
        )?;
        args.add(rows.iter().map(|row| row.opened_at).collect::<Vec<OffsetDateTime>>())?;
        args.add(rows.iter().map(|row| row.deadline_at).collect::<Vec<OffsetDateTime>>())
    }
}

/// Rows of `work_item_open`.
#[derive(Default)]
pub(super) struct OpenedItems(Vec<(WorkKind, String, ItemId, OffsetDateTime)>);

impl OpenedItems {
    pub fn push(&mut self, new: &NewItem) {
        self.0
            .push((new.kind, new.subject.clone(), new.id.clone(), new.deadline_at));
    }
}

impl RowSet for OpenedItems {
    const NAME: &'static str = "work_item_open";
    const SQL: &'static str = "\
        insert into work_item_open (center_id, kind, subject, item_id, deadline_at)
        select guard.center_id, o.* from guard,
            unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) o";
    const PARAMS: usize = 4;

    fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        let rows = &self.0;
        args.add(rows.iter().map(|row| kind_name(row.0)).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.1.as_str()).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.2.as_str()).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.3).collect::<Vec<OffsetDateTime>>())
    }
}

/// Legs of items that transactions end.
#[derive(Default)]
pub(super) struct EndedItems(Vec<Ended>);

struct Ended {
    kind: WorkKind,
    subject: String,
    actor: String,
    reason: String,
    seq: Option<i64>,
    at: OffsetDateTime,
}

impl EndedItems {
    pub fn push(&mut self, closing: &Closing<'_>) {
        self.0.push(Ended {
            kind: closing.kind,
            subject: closing.subject.to_owned(),
            actor: closing.actor.to_owned(),
            reason: closing.reason.to_owned(),
            seq: closing.seq.map(|seq| seq.0),
            at: closing.at,
        });
    }
}

impl RowSet for EndedItems {
    const NAME: &'static str = "work_item_leg";
    // The open row is read as it was before the statement, which takes it away. It is found by its primary key.
    const SQL: &'static str = "\
        insert into work_item_leg (center_id, item_id, leg, state, at, actor, reason, seq)
        select o.center_id, o.item_id,
               (select coalesce(max(l.leg), 0) + 1 from work_item_leg l
                where l.center_id = o.center_id and l.item_id = o.item_id),
               'DONE', e.at, e.actor, e.reason, e.seq
        from guard, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[])
                 e (kind, subject, actor, reason, seq, at)
        join work_item_open o on o.kind = e.kind and o.subject = e.subject
        where o.center_id = guard.center_id";
    const PARAMS: usize = 6;

    fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        let rows = &self.0;
        args.add(rows.iter().map(|row| kind_name(row.kind)).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.subject.as_str()).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.actor.as_str()).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.reason.as_str()).collect::<Vec<&str>>())?;
        args.add(rows.iter().map(|row| row.seq).collect::<Vec<Option<i64>>>())?;
        args.add(rows.iter().map(|row| row.at).collect::<Vec<OffsetDateTime>>())
    }
}

/// Open rows of items that transactions end.
#[derive(Default)]
pub(super) struct ClosedItems(Vec<(WorkKind, String)>);

impl ClosedItems {
    pub fn push(&mut self, closing: &Closing<'_>) {
        self.0.push((closing.kind, closing.subject.to_owned()));
    }
}

impl RowSet for ClosedItems {
    const NAME: &'static str = "work_item_closed";
    const SQL: &'static str = "\
        delete from work_item_open o using guard, unnest($1::text[], $2::text[]) c (kind, subject)
        where o.center_id = guard.center_id and o.kind = c.kind and o.subject = c.subject";
    const PARAMS: usize = 2;

    fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        args.add(self.0.iter().map(|row| kind_name(row.0)).collect::<Vec<&str>>())?;
        args.add(self.0.iter().map(|row| row.1.as_str()).collect::<Vec<&str>>())
    }
}
