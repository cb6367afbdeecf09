-- A payment whose fee in the bill is not what the channel's fee rate makes of it is a break of its own kind.
alter table reconciliation_break
    drop constraint reconciliation_break_kind,
    add constraint reconciliation_break_kind check (
        kind in ('ONLY_IN_BILL', 'ONLY_IN_LEDGER', 'AMOUNT_DIFFERS', 'DUPLICATE', 'FEE_DIFFERS')
    );
