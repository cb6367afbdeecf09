-- Payments inside a gateway's own app, as the payer whom the gateway knows, beside those by a link or QR code.

-- The gateway's id of the payer (WeChat Pay's openid); null for a payment by link.
alter table remittance add column in_app_payer text collate "C";

-- What a page inside the gateway's app hands to the app, by name; null for a link.
alter table remittance_leg
    add column prepay jsonb,
    add constraint remittance_leg_prepay check (prepay is null or state = 'PENDING');
