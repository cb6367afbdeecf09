-- What other gateways than the first can do: take payments inside their own app, and give fees back with refunds.

-- The gateway's id of the payer (WeChat Pay's openid); null for a payment by link.
alter table remittance add column in_app_payer text collate "C";

-- What a page inside the gateway's app hands to the app, by name; null for a link.
alter table remittance_leg
    add column prepay jsonb,
    add constraint remittance_leg_prepay check (prepay is null or state = 'PENDING');

-- A fee below zero is one that the gateway gave back.
alter table bill_entry
    drop constraint bill_entry_fee,
    add constraint bill_entry_fee check (scale(fee) <= 4 and (fee <> 0) = (fee_seq is not null));
