-- What a detainee has spent on each day: one row for each month, so that a purchase writes one row whatever windows it counts in,
-- and what comes back changes the day it was bought on and no other. A week is added up of the days of one or two rows.

-- days[n] is what was spent on the n-th of the month, null where nothing ever was.
alter table monthly_spending
    add column days numeric[] not null default '{}',
    add constraint monthly_spending_days check (cardinality(days) <= 31 and not 0 > any(days));
alter table monthly_spending alter column days drop default;

grant update (days) on monthly_spending to custody_service;
