-- That the bank did not pay what stands in a file is never one person's word: what somebody uploads asks others first. This is
-- which of a file's payments were taken back, and who allowed it. end_seq is the transaction that ended the payment.
create table payment_failure (
    center_id     integer not null,
    end_to_end_id text    not null collate "C",
    approval_no   bigint  not null,
    end_seq       bigint  not null,
    constraint payment_failure_pkey primary key (center_id, end_to_end_id),
    constraint payment_failure_end_unique unique (center_id, end_seq),
    constraint payment_failure_approval foreign key (center_id, approval_no)
        references approval_grant (center_id, approval_no)
);
grant select, insert on payment_failure to custody_service;
