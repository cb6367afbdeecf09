//! The rows that domains add to a batch's one statement.

use std::{any::Any, collections::BTreeMap};

use sqlx::postgres::PgArguments;

/// The rows of one domain table in a batch: a fragment of SQL fed by arrays.
///
/// The fragment is a data-modifying statement that selects from `guard, unnest($1::…[], …)`, where `guard` has the one column
/// `center_id` and no row when the batch may not commit. Its parameters are numbered from 1; the lane renumbers them. A row
/// must not be written twice by one statement, so a set that upserts keeps one value for each key.
pub trait RowSet: Default + Send + Sync + 'static {
    /// A name that orders the fragments and names the expression, for example `monthly_spending`.
    const NAME: &'static str;
    /// The fragment.
    const SQL: &'static str;
    /// How many parameters it has.
    const PARAMS: usize;
    /// Adds the arrays, in the order of the parameters.
    fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError>;
}

trait AnyRowSet: Send + Sync {
    fn name(&self) -> &'static str;
    fn sql(&self) -> &'static str;
    fn params(&self) -> usize;
    fn bind(self: Box<Self>, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError>;
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
        S::PARAMS
    }
    fn bind(self: Box<Self>, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        RowSet::bind(*self, args)
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

    /// Writes the fragments as further expressions of the statement, numbering parameters after `first` of them.
    pub(super) fn compose(&self, first: usize, sql: &mut String) {
        let mut taken = first;
        for set in self.sets.values() {
            sql.push_str(", ");
            sql.push_str(set.name());
            sql.push_str("_rows as (");
            renumber(set.sql(), taken, sql);
            sql.push(')');
            taken += set.params();
        }
    }

    pub(super) fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        self.sets.into_values().try_for_each(|set| set.bind(args))
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
