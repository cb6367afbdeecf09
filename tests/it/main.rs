//! Every integration test, in one program, against a real PostgreSQL.
//!
//! # Layout
//! What the tests stand on:
//! - `world` a database of its own for each test, with a center, and the domains that write most over it; `all_domains` all of
//!   them, with the simulated gateway, on any date
//! - `service` the program itself, in a process; `whole_service` the same with the gateway, people and callers of every role
//! - `messages_from_text` requests written as text
//!
//! The ledger and its domains, called directly:
//! - `purchase`, `remittance`, `settlement`, `refund`, `reconciliation` one domain each
//! - `cancelling` quotes that are given up, and what may be asked for how often
//! - `life` what is over the cap, held for review, too much in a month
//! - `spending` what may be spent in which window, what is frozen or restricted, and kits for those who have nothing
//! - `scenarios` ledgers written as text; `model` random commands against a pure model
//! - `tampering` what verification notices; `privileges` what the service's role may do in the database
//! - `database` the private PostgreSQL, and migrations
//!
//! The service, called over sockets:
//! - `wire`, `doors` who may call what, the books, watching, gRPC-Web, health and reflection
//! - `debts` debts, court orders, policies, and credits taken back
//! - `life_over_the_wire` reviews by two people, watching, jobs
//! - `outcomes`, `own_ids` one request id, one outcome, and ids of the service's own; `suspense` money in suspense
//! - `payers` registration, phones, links decided by another, and identity numbers that stay sealed
//! - `terminals` enrolment, certificates, and sessions of detainees
//! - `offline_sales` allowances, signed sales brought in later, and what waits for finance
//! - `goods` prices that two people raise, products listed twice, stock, the catalogue as a file
//! - `orders` what is ordered, delivered, disputed and expires
//! - `money_without_order`, `approvals` whose it is, and two people for one decision
//! - `bad_input`, `bad_names`, `bad_bytes`, `bad_requests` what is refused at the door
//! - `notifications`, `bills`, `payout` what the gateway tells, its bills, and money that leaves
//! - `endings` how stays end: payouts in parts, heirs, unclaimed money, merging, relations, signed statements
//! - `vendor_payments` contracts, files for the bank and its answers
//! - `transfers` detainees who move between centers, sums withheld, late money, also under power cuts
//! - `webhook_styles` notifications signed as GOV.UK Pay and Adyen sign them
//! - `wechat_pay`, `alipay` the channels of these names, their notifications, refunds and bills, against the simulated gateways;
//!   `simulated_faults` what breaks at them on command and by a seed, and their own books
//! - `till` the reference terminal, `custody terminal`: what is typed, cuts and kills at every point, many at once
//! - `tracing` one purchase is one trace; `demonstration` the demonstration, from end to end
//!
//! Power cuts and outages:
//! - `faults` of the service and its PostgreSQL; `hanging_database` one that is there and does not answer;
//!   `cut_begin` callers that hang up; `gateway_power_cuts` between the gateway and the ledger; `life_power_cuts` between being held, decided, and sent back; `payment_power_cut` while a payment file is made; `storm` all of it at once, by a seed, and the books compared
//!
//! The house's own order: `tidy` rules for the sources; `offline` what is generated and committed is up to date.

mod aged;
mod alipay;
mod all_domains;
mod approvals;
mod bad_bytes;
mod bad_input;
mod bad_names;
mod bad_requests;
mod bills;
mod cancelling;
mod cut_begin;
mod database;
mod debts;
mod demonstration;
mod doors;
mod endings;
mod failed_payments;
mod faults;
mod gateway_power_cuts;
mod goods;
mod hanging_database;
mod lending;
mod life;
mod life_over_the_wire;
mod life_power_cuts;
mod messages_from_text;
mod model;
mod money_without_order;
mod notifications;
mod offline;
mod offline_sales;
mod orders;
mod others;
mod outcomes;
mod own_ids;
mod payers;
mod payment_power_cut;
mod payout;
mod polling;
mod privileges;
mod purchase;
mod reconciliation;
mod refund;
mod refunds_by_bank;
mod remittance;
mod scenarios;
mod service;
mod settlement;
mod several_centers;
mod simulated_faults;
mod spending;
mod storm;
mod suspense;
mod tampering;
mod terminals;
mod tidy;
mod till;
mod tracing;
mod transfers;
mod two_people;
mod vendor_payments;
mod webhook_styles;
mod wechat_pay;
mod whole_service;
mod wire;
mod world;
