//! The rows that domains add to a batch's one statement.

use std::{any::Any, collections::BTreeMap};

use sqlx::{Arguments as _, error::BoxDynError, postgres::PgArguments};

use super::batch::Batch;

/// The rows of one domain table in a batch: a fragment of SQL fed by arrays.
///
/// The fragment is a data-modifying statement that selects from `unnest($1::integer[], $2::…[], …) r (center_id, …)`, where
/// `$1` says of each row which center it is of, and writes only those with `r.center_id in (select center_id from guard)`.
/// Its parameters are numbered from 1; the lane adds the first and renumbers all. A row must not be written twice by one
/// statement, so a set that upserts keeps one value for each key.
pub trait RowSet: Default + Send + Sync + 'static {
    /// A name that orders the fragments and names the expression, for example `monthly_spending`.
    const NAME: &'static str;
    /// The fragment.
    const SQL: &'static str;
    /// How many parameters it has besides the centers.
    const PARAMS: usize;
    /// How many rows there are.
    fn count(&self) -> usize;
    /// Adds the arrays after that of the centers, in the order of the parameters: the rows of all sets, one set after the other.
    fn bind(sets: &[&Self], args: &mut PgArguments) -> Result<(), BoxDynError>;
}

trait AnyRowSet: Send + Sync {
    fn name(&self) -> &'static str;
    fn sql(&self) -> &'static str;
    fn params(&self) -> usize;
    fn count(&self) -> usize;
    /// Binds this set and others of the same kind.
    fn bind(&self, all: &[&dyn AnyRowSet], args: &mut PgArguments) -> Result<(), BoxDynError>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<S: RowSet> AnyRowSet for S {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn sql(&self) -> &'static str {
        S::SQL
    }
    fn params(&self) -> usize {
        1 + S::PARAMS
    }
    fn count(&self) -> usize {
        RowSet::count(self)
    }
    fn bind(&self, all: &[&dyn AnyRowSet], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let sets: Vec<&S> = all.iter().filter_map(|set| set.as_any().downcast_ref()).collect();
        S::bind(&sets, args)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// All domains' rows of one batch.
#[derive(Default)]
pub struct Rows {
    sets: BTreeMap<&'static str, Box<dyn AnyRowSet>>,
}

impl Rows {
    /// The rows of one domain table, none when first asked for.
    pub fn of<S: RowSet>(&mut self) -> Option<&mut S> {
        self.sets
            .entry(S::NAME)
            .or_insert_with(|| Box::<S>::default())
            .as_mut()
            .as_any_mut()
            .downcast_mut()
    }
}

/// The sets of each table, and of each row of them its center.
#[derive(Default)]
struct Table<'a> {
    sets: Vec<&'a dyn AnyRowSet>,
    centers: Vec<i32>,
}

/// All domains' rows of several batches, by table.
pub(super) struct Tables<'a>(BTreeMap<&'static str, Table<'a>>);

/// Puts the rows of several batches together.
pub(super) fn of_batches<'a>(batches: &[&'a Batch]) -> Tables<'a> {
    let mut tables: BTreeMap<&'static str, Table<'a>> = BTreeMap::new();
    for batch in batches {
        for (name, set) in &batch.rows.sets {
            let table = tables.entry(name).or_default();
            table.sets.push(set.as_ref());
            table.centers.extend(std::iter::repeat_n(batch.center.0, set.count()));
        }
    }
    Tables(tables)
}

impl Tables<'_> {
    /// One set of each table, which tells its fragment.
    fn firsts(&self) -> impl Iterator<Item = &dyn AnyRowSet> {
        self.0.values().filter_map(|table| table.sets.first().copied())
    }

    /// Writes the fragments as further expressions of the statement, numbering parameters after `first` of them.
    pub fn compose(&self, first: usize, sql: &mut String) {
        let mut taken = first;
        for set in self.firsts() {
            sql.push_str(", ");
            sql.push_str(set.name());
            sql.push_str("_rows as (");
            renumber(set.sql(), taken, sql);
            sql.push(')');
            taken += set.params();
        }
    }

    pub fn bind(&self, args: &mut PgArguments) -> Result<(), BoxDynError> {
        for table in self.0.values() {
            if let Some(first) = table.sets.first() {
                args.add(&table.centers)?;
                first.bind(&table.sets, args)?;
            }
        }
        Ok(())
    }
}

/// Copies `fragment`, adding `offset` to the number of each `$n`.
fn renumber(fragment: &str, offset: usize, sql: &mut String) {
    let mut pieces = fragment.split('$');
    sql.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let (number, rest) = piece.split_at(digits);
        let number: usize = number.parse().unwrap_or_default();
        sql.push('$');
        sql.push_str(&(number + offset).to_string());
        sql.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::renumber;

    #[test]
    fn parameters_are_numbered_on() {
        let mut sql = String::new();
        renumber("unnest($1::text[], $2::date[]) where x = $12", 10, &mut sql);
        assert_eq!(sql, "unnest($11::text[], $12::date[]) where x = $22");
    }
}
