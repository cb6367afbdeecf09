//! Vendors paid by the bank: contracts, settlements that two people allow, files, and what the bank says of them.

use custody_ledger::{
    approval::{Approval, Desk, Verdict},
    bank::simulator::{Answers, Rules, take},
    contract::{Account, NewTerms},
    distribution::parse_percent,
    ids::{Seq, VendorId},
    ledger::{LedgerError, Request, transaction},
    money::Currency,
    payment::Paying,
    proto::journal_record::Facts,
    verification,
    work::{ItemFilter, WorkQueue},
};
use futures::{TryStreamExt as _, future::join_all};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use time::{Date, macros::date};
use uuid::Uuid;

use crate::{
    all_domains::{Economy, person},
    world::{cny, reason, request_with},
};

pub fn vendor() -> VendorId {
    VendorId::parse("V1").unwrap()
}

fn fresh(method: &'static str) -> Request {
    request_with(Uuid::new_v4(), method, b"")
}

fn account(number: &str) -> Account {
    Account {
        holder: "华丰食品".into(),
        number: number.into(),
        bank_code: "102100099996".into(),
        bank_name: "中国工商银行".into(),
    }
}

pub async fn decide(desk: &Desk, economy: &Economy, no: i64, who: &str) -> Result<Approval, LedgerError> {
    let center = &economy.world.center;
    desk.decide(center, no, &person(who), Verdict::Approved, String::new())
        .await
}

/// Alice asks for an account, Bob allows it.
pub async fn give_account(economy: &Economy, number: &str) {
    let house = &economy.house;
    let asked = house.contracts.ask_for_account(
        &economy.world.center,
        fresh("test/Account"),
        person("alice"),
        vendor(),
        account(number),
        "contract 7".into(),
    );
    let (approval, _) = asked.await.unwrap();
    decide(&house.desk, economy, approval.no, "bob").await.unwrap();
}

async fn terms(economy: &Economy, percent: &str, days: i16) {
    let new = NewTerms {
        commission_percent: parse_percent(percent).unwrap(),
        cycle_days: days,
        version: None,
    };
    let contracts = &economy.house.contracts;
    contracts
        .update_terms(&economy.world.center, &vendor(), new, "admin/a")
        .await
        .unwrap();
}

/// D1 buys; the next morning the day is closed and allowed.
pub async fn sell(economy: &mut Economy, pieces: u32, next: Date) -> Seq {
    economy.world.buy("D1", &[("RICE", pieces)]).await.unwrap();
    let day = next.previous_day().unwrap();
    economy.move_to(next);
    let closed = economy.close(Uuid::new_v4(), day).await.unwrap();
    economy.allow(closed.seq()).await;
    closed.seq()
}

pub async fn file(economy: &Economy) -> Result<i64, LedgerError> {
    let made = economy
        .house
        .payments
        .make_file(&economy.world.center, fresh("test/File"), None);
    match &made.await?.record.facts {
        Some(Facts::PaymentFile(facts)) => Ok(facts.number),
        other => panic!("{other:?}"),
    }
}

pub async fn answers(economy: &Economy, number: i64, reject_ending: &str) -> Answers {
    let content = economy
        .house
        .payments
        .content(&economy.world.center, number)
        .await
        .unwrap();
    let rules = Rules {
        currency: Currency::parse("CNY").unwrap(),
        reject_ending: reject_ending.into(),
        opening: cny("1000.00"),
        now: economy.world.process.lanes.clock().now(),
    };
    take(&content, &rules).unwrap()
}

pub async fn owed(economy: &Economy) -> [String; 2] {
    economy.vendor().await.map(|amount| amount.to_string())
}

async fn last_seq(economy: &Economy) -> i64 {
    let mut conn = PgConnection::connect(&economy.world.db.url).await.unwrap();
    sqlx::query_scalar("select seq from journal_head")
        .fetch_one(&mut conn)
        .await
        .unwrap()
}

pub async fn open_items(economy: &Economy) -> Vec<String> {
    let filter = ItemFilter {
        open: true,
        ..ItemFilter::default()
    };
    let work = WorkQueue::new(economy.world.process.lanes.clone());
    let items = work.list(&economy.world.center, &filter, 50).await.unwrap();
    items.into_iter().map(|item| item.subject).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_account_takes_two_people_and_a_day() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    let center = economy.world.center.clone();
    let ask = |economy: &Economy, id: Uuid, number: &str| {
        let contracts = economy.house.contracts.clone();
        let (center, account) = (economy.world.center.clone(), account(number));
        let request = request_with(id, "test/Account", number.as_bytes());
        async move {
            let asked = contracts.ask_for_account(&center, request, person("alice"), vendor(), account, "c".into());
            asked.await
        }
    };
    let id = Uuid::new_v4();
    let (approval, replayed) = ask(&economy, id, "6222021001116245702").await.unwrap();
    let (again, repeated) = ask(&economy, id, "6222021001116245702").await.unwrap();
    assert!(!replayed && repeated && approval.no == again.no);
    // Nobody who reads approvals reads the number.
    let shown = format!("{} {}", approval.summary, String::from_utf8_lossy(&approval.command));
    assert!(shown.contains("5702") && !shown.contains("62220210"), "{shown}");
    let pending = ask(&economy, Uuid::new_v4(), "6222021001116245713").await.unwrap_err();
    assert_eq!(reason(&pending), "APPROVAL_PENDING");
    assert!(
        decide(&economy.house.desk, &economy, approval.no, "alice")
            .await
            .is_err()
    );
    assert!(
        economy
            .house
            .contracts
            .get(&center, &vendor())
            .await
            .unwrap()
            .account
            .is_none()
    );
    for _ in 0..2 {
        decide(&economy.house.desk, &economy, approval.no, "bob").await.unwrap();
    }
    // The first is paid to at once, the second a day later.
    let first = economy
        .house
        .contracts
        .get(&center, &vendor())
        .await
        .unwrap()
        .account
        .unwrap();
    assert_eq!(
        (first.version, first.account.number.as_str()),
        (1, "6222021001116245702")
    );
    let same = ask(&economy, Uuid::new_v4(), "6222021001116245702").await.unwrap_err();
    assert_eq!(reason(&same), "ALREADY_EXISTS");
    give_account(&economy, "6222021001116245713").await;
    let contract = economy.house.contracts.get(&center, &vendor()).await.unwrap();
    assert_eq!(contract.account.unwrap().version, 1);
    assert_eq!(contract.next.unwrap().version, 2);
    economy.move_to(date!(2031 - 05 - 08));
    let contract = economy.house.contracts.get(&center, &vendor()).await.unwrap();
    assert_eq!((contract.account.unwrap().version, contract.next), (2, None));

    // Terms have a history; the same again is no change, and a stale version is refused.
    terms(&economy, "2.5", 1).await;
    terms(&economy, "2.50", 1).await;
    terms(&economy, "3", 2).await;
    let all = economy
        .house
        .contracts
        .list_terms(&center, &vendor(), None, 10)
        .await
        .unwrap();
    assert_eq!(all.iter().map(|terms| terms.version).collect::<Vec<_>>(), [2, 1]);
    let stale = NewTerms {
        commission_percent: parse_percent("1").unwrap(),
        cycle_days: 1,
        version: Some(1),
    };
    let refused = economy
        .house
        .contracts
        .update_terms(&center, &vendor(), stale, "admin/a")
        .await;
    assert_eq!(reason(&refused.unwrap_err()), "STALE_ETAG");
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commission_is_kept_once_and_a_rejected_payment_is_owed_again() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    economy.world.endow("D1", "100.00").await;
    terms(&economy, "3", 1).await;
    give_account(&economy, "6222021001116245713").await;
    let center = economy.world.center.clone();

    // 10.00 sold, 3 % kept.
    let settlement = sell(&mut economy, 4, date!(2031 - 05 - 07)).await;
    assert_eq!(owed(&economy).await, ["0.00", "9.70"]);
    assert_eq!(economy.total(4101).await, "0.30");
    let number = file(&economy).await.unwrap();
    let content = economy.house.payments.content(&center, number).await.unwrap();
    let (told, payments) = economy.house.payments.file(&center, number).await.unwrap();
    assert_eq!(
        (told.total, told.count, payments[0].paying),
        (cny("9.70"), 1, Paying::Settlement(settlement))
    );
    // The journal has its hash, and no account number.
    let mut conn = economy.world.process.database.read.acquire().await.unwrap();
    let recorded = transaction::get(&mut *conn, center.no, told.seq)
        .await
        .unwrap()
        .unwrap();
    drop(conn);
    let Some(Facts::PaymentFile(facts)) = &recorded.record.facts else {
        panic!("{recorded:?}")
    };
    assert_eq!(facts.sha256, hex::encode(Sha256::digest(&content)));
    assert!(!String::from_utf8_lossy(&recorded.record_bytes).contains("62220210"));
    assert_eq!(facts.payments[0].approval.as_ref().unwrap().checkers, ["finance/bob"]);
    // By hand it is neither put back nor paid: the bank says it.
    let settlements = &economy.house.settlements;
    let by_hand = settlements
        .confirm(&center, fresh("test/Confirm"), settlement, "x".into())
        .await;
    assert_eq!(reason(&by_hand.unwrap_err()), "IN_PAYMENT_FILE");
    let by_hand = economy
        .house
        .settlements
        .fail(&center, fresh("test/Fail"), settlement, "x".into())
        .await;
    assert_eq!(reason(&by_hand.unwrap_err()), "IN_PAYMENT_FILE");

    let rejected = answers(&economy, number, "13").await;
    let read = economy
        .house
        .payments
        .read_status(&center, &rejected.status, "finance/f")
        .await
        .unwrap();
    assert_eq!(
        (read.counts, read.repeated, read.contradictions.len()),
        ([0, 1, 0], false, 0)
    );
    // Whoever brings the file could have written it: nothing moves until another has allowed it.
    let asked = read.approval.unwrap();
    assert_eq!(owed(&economy).await, ["0.00", "9.70"]);
    assert_eq!(open_items(&economy).await, ["bankMessages/1"]);
    let again = economy
        .house
        .payments
        .read_status(&center, &rejected.status, "admin/g")
        .await
        .unwrap();
    assert!(again.repeated && again.approval == Some(asked));
    let own = decide(&economy.house.desk, &economy, asked, "f").await.unwrap_err();
    assert_eq!(reason(&own), "MAKER_IS_CHECKER");
    for _ in 0..2 {
        decide(&economy.house.desk, &economy, asked, "bob").await.unwrap();
    }
    assert_eq!(owed(&economy).await, ["9.70", "0.00"]);
    assert_eq!(open_items(&economy).await, Vec::<String>::new());
    let seq = last_seq(&economy).await;
    let again = economy
        .house
        .payments
        .read_status(&center, &rejected.status, "finance/f")
        .await
        .unwrap();
    assert!(again.repeated && again.approval.is_none());
    assert_eq!(last_seq(&economy).await, seq, "the same file again");

    // The next settlement takes it along, and its commission was kept before.
    let next = sell(&mut economy, 4, date!(2031 - 05 - 08)).await;
    assert_eq!(owed(&economy).await, ["0.00", "19.40"]);
    assert_eq!(economy.total(4101).await, "0.60");
    let number = file(&economy).await.unwrap();
    assert_eq!(number, 2);
    let paid = answers(&economy, number, "").await;
    let read = economy
        .house
        .payments
        .read_statement(&center, &paid.statement, "finance/f")
        .await
        .unwrap();
    assert_eq!((read.counts, read.entries, read.others), ([1, 0], 1, 0));
    assert_eq!(owed(&economy).await, ["0.00", "0.00"]);
    let read = economy
        .house
        .payments
        .read_status(&center, &paid.status, "finance/f")
        .await
        .unwrap();
    assert_eq!((read.counts, read.contradictions.len()), ([1, 0, 0], 0));

    // Paid, and now rejected: nothing moves, and somebody has to look.
    let seq = last_seq(&economy).await;
    let contradicting = answers(&economy, number, "13").await;
    for repeated in [false, true] {
        let read = economy
            .house
            .payments
            .read_status(&center, &contradicting.status, "finance/f")
            .await
            .unwrap();
        assert_eq!(
            (read.repeated, read.contradictions),
            (repeated, vec![Paying::Settlement(next)])
        );
    }
    assert_eq!(last_seq(&economy).await, seq);
    assert_eq!(open_items(&economy).await, [format!("settlements/{next}")]);
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_make_one_file() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    economy.world.endow("D1", "100.00").await;
    let center = economy.world.center.clone();
    let nothing = file(&economy).await.unwrap_err();
    assert_eq!(reason(&nothing), "NOTHING_TO_PAY");
    sell(&mut economy, 4, date!(2031 - 05 - 07)).await;
    assert_eq!(reason(&file(&economy).await.unwrap_err()), "NO_VENDOR_ACCOUNT");
    give_account(&economy, "6222021001116245702").await;
    let other = Economy::beside(&economy);
    let asked = (0..8).map(|number| {
        let house = if number % 2 == 0 { &economy.house } else { &other };
        house.payments.make_file(&center, fresh("test/File"), None)
    });
    let came = join_all(asked).await;
    assert_eq!(came.iter().filter(|made| made.is_ok()).count(), 1);
    let refused = came.iter().filter_map(|made| made.as_ref().err());
    assert!(refused.clone().all(|error| reason(error) == "NOTHING_TO_PAY"));
    let files = economy.house.payments.list(&center, None, 10).await.unwrap();
    assert_eq!(files.iter().map(|file| file.number).collect::<Vec<_>>(), [1]);
    // Bit for bit the same, from whichever process.
    let [one, two] = [
        economy.house.payments.content(&center, 1).await.unwrap(),
        other.payments.content(&center, 1).await.unwrap(),
    ];
    assert_eq!(one, two);
    assert_eq!(Sha256::digest(&one).to_vec(), files[0].sha256);
    // A date that is over or far ahead is refused, and a file that was never made is not there.
    let made = economy
        .house
        .payments
        .make_file(&center, fresh("test/File"), Some(date!(2031 - 05 - 06)));
    assert_eq!(reason(&made.await.unwrap_err()), "INVALID_FIELD");
    let far = economy
        .house
        .payments
        .make_file(&center, fresh("test/File"), Some(date!(9999 - 12 - 31)));
    assert_eq!(reason(&far.await.unwrap_err()), "INVALID_FIELD");
    assert_eq!(
        reason(&economy.house.payments.content(&center, 2).await.unwrap_err()),
        "NOT_FOUND"
    );
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_understood_or_not_ours_change_nothing() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    economy.world.endow("D1", "100.00").await;
    give_account(&economy, "6222021001116245702").await;
    let center = economy.world.center.clone();
    sell(&mut economy, 4, date!(2031 - 05 - 07)).await;
    let number = file(&economy).await.unwrap();
    let good = answers(&economy, number, "").await;
    let (status, statement) = (
        String::from_utf8(good.status).unwrap(),
        String::from_utf8(good.statement).unwrap(),
    );
    let seq = last_seq(&economy).await;
    let payments = &economy.house.payments;
    for (from, to, expected) in [
        ("<OrgnlMsgId>1-F1<", "<OrgnlMsgId>1-F2<", "BANK_FILE_FOREIGN"),
        ("<OrgnlMsgId>1-F1<", "<OrgnlMsgId>9-F1<", "BANK_FILE_FOREIGN"),
        ("<OrgnlEndToEndId>1-S", "<OrgnlEndToEndId>1-T", "BANK_FILE_FOREIGN"),
        ("<TxSts>ACSC<", "<TxSts>GONE<", "BANK_FILE_UNREADABLE"),
        ("<CstmrPmtStsRpt>", "", "BANK_FILE_UNREADABLE"),
        ("<GrpHdr>", "<!DOCTYPE a><GrpHdr>", "BANK_FILE_UNREADABLE"),
        ("<CreDtTm>2031-05-07", "<CreDtTm>2031-05-10", "BANK_FILE_FOREIGN"),
        ("<CreDtTm>2031-05-07", "<CreDtTm>1970-01-01", "BANK_FILE_FOREIGN"),
        ("<CreDtTm>2031-05-07", "<CreDtTm>7 May", "BANK_FILE_UNREADABLE"),
    ] {
        assert!(status.contains(from), "{from}: {status}");
        let bad = status.replacen(from, to, 1);
        let refused = payments
            .read_status(&center, bad.as_bytes(), "finance/f")
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), expected, "{to}");
    }
    for (from, to, expected) in [
        (
            "<Id>6222020000000000001<",
            "<Id>6222020000000000002<",
            "BANK_FILE_FOREIGN",
        ),
        (">990.00<", ">990.01<", "BANK_FILE_UNREADABLE"),
        ("<Cd>CLBD<", "<Cd>CLAV<", "BANK_FILE_UNREADABLE"),
        ("Ccy=\"CNY\"", "Ccy=\"USD\"", "BANK_FILE_UNREADABLE"),
        (
            "<BookgDt>\n          <Dt>2031-05-07",
            "<BookgDt>\n          <Dt>2999-05-07",
            "BANK_FILE_FOREIGN",
        ),
    ] {
        assert!(statement.contains(from), "{from}: {statement}");
        let bad = statement.replacen(from, to, 1);
        let refused = payments
            .read_statement(&center, bad.as_bytes(), "finance/f")
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), expected, "{to}");
        assert!(!format!("{refused:?}").contains("622202"), "{refused:?}");
    }
    // Another amount than was sent.
    let other = statement.replace(">10.00<", ">9.00<").replace(">990.00<", ">991.00<");
    let refused = payments
        .read_statement(&center, other.as_bytes(), "finance/f")
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "BANK_FILE_FOREIGN");
    assert_eq!(last_seq(&economy).await, seq);
    assert_eq!(owed(&economy).await, ["0.00", "10.00"]);
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor_s_statement_lists_every_line() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    economy.world.endow("D1", "100.00").await;
    terms(&economy, "3", 1).await;
    economy.world.buy("D1", &[("RICE", 4)]).await.unwrap();
    let settlement = sell(&mut economy, 2, date!(2031 - 05 - 07)).await;
    let (settlements, center) = (&economy.house.settlements, &economy.world.center);
    let parts: Vec<Vec<u8>> = settlements
        .export_csv(center, settlement)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let text = String::from_utf8(parts.concat()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "\u{feff}date,kind,transaction,leg,sold,taken back");
    assert!(
        lines[1].starts_with("2031-05-06,PURCHASE,") && lines[1].ends_with(",10.00,"),
        "{text}"
    );
    assert_eq!(
        lines[3..],
        [",SUM,,,15.00,0.00", ",COMMISSION,,,,0.45", ",PAID,,,14.55,"]
    );
    let book = settlements.export_xlsx(center, settlement).await.unwrap();
    assert!(book.starts_with(b"PK"));
    let missing = settlements.export_xlsx(center, Seq(1)).await.unwrap_err();
    assert_eq!(reason(&missing), "NOT_FOUND");

    // A longer cycle keeps a day from being closed, and the preview tells from when on it can be.
    terms(&economy, "3", 3).await;
    economy.world.buy("D1", &[("RICE", 1)]).await.unwrap();
    economy.move_to(date!(2031 - 05 - 08));
    let early = economy.close(Uuid::new_v4(), date!(2031 - 05 - 07)).await.unwrap_err();
    assert_eq!(reason(&early), "DATE_NOT_OVER");
    let (settlements, center) = (&economy.house.settlements, &economy.world.center);
    let preview = settlements.preview(center, &vendor(), date!(2031 - 05 - 07)).await;
    let (reckoned, due) = preview.unwrap();
    // 2.50 less 3 %, rounded down: 0.07.
    assert_eq!((reckoned.total, reckoned.commission), (cny("2.43"), cny("0.07")));
    economy.move_to(due.date().next_day().unwrap());
    economy.close(Uuid::new_v4(), date!(2031 - 05 - 07)).await.unwrap();
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_changes_about_payments_is_noticed() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    economy.world.endow("D1", "100.00").await;
    terms(&economy, "3", 1).await;
    give_account(&economy, "6222021001116245702").await;
    sell(&mut economy, 4, date!(2031 - 05 - 07)).await;
    file(&economy).await.unwrap();
    economy.world.verified().await;
    let mut owner = PgConnection::connect(&economy.world.db.url).await.unwrap();
    for (change, undo, expected) in [
        (
            "update settlement set commission = commission + 1",
            "update settlement set commission = commission - 1",
            "settlement ",
        ),
        (
            "update payment_file set total = total + 1",
            "update payment_file set total = total - 1",
            "payment_file 1",
        ),
        (
            "update settlement_sent set line_no = 2",
            "update settlement_sent set line_no = 1",
            "settlement_sent ",
        ),
        (
            "update vendor_account set effective_at = effective_at + interval '1 hour'",
            "update vendor_account set effective_at = effective_at - interval '1 hour'",
            "vendor_account V1 1",
        ),
        (
            "update vendor_account_asked set number = '6222021001116249999'",
            "update vendor_account_asked set number = '6222021001116245702'",
            "vendor_account V1 1",
        ),
        (
            "update vendor_terms set version = 2",
            "update vendor_terms set version = 1",
            "vendor_terms V1",
        ),
    ] {
        sqlx::raw_sql(change).execute(&mut owner).await.unwrap();
        let (database, center) = (&economy.world.process.database, &economy.world.center);
        let found = verification::verify_snapshot(database, center).await;
        let told = found.map(drop).expect_err(change).to_string();
        assert!(told.contains(expected), "{change}: {told}");
        sqlx::raw_sql(undo).execute(&mut owner).await.unwrap();
    }
    economy.world.verified().await;
}
