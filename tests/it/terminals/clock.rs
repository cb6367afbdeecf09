//! What the clock does: locks that grow, sessions and challenges that end by themselves, and a detainee's release.

use custody_ledger::{
    access::{Actor, Role, Scope, TokenKey, Verifier},
    clock::Clock,
    custody,
    custody::DetaineeState,
    ids::{CardId, CenterId, TerminalId},
    ledger::{LedgerError, center},
    terminal::{Begun, Seller, Terminals},
};
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros::datetime};

use crate::world::{Process, World, id, reason, terminals_with};

const START: OffsetDateTime = datetime!(2031-05-06 07:08:09 UTC);

/// A center at one moment, and the same at others.
struct Ages {
    world: World,
    keys: TempDir,
}

impl Ages {
    async fn begin() -> Ages {
        Ages {
            world: World::build_with(Clock::starting_at(START), 64).await,
            keys: tempfile::tempdir().unwrap(),
        }
    }

    /// The terminals of a process whose clock starts so much later.
    fn after(&self, passed: Duration) -> Terminals {
        let process = Process::over(&self.world.db.url, Clock::starting_at(START + passed), 64);
        terminals_with(&process, self.keys.path())
    }

    async fn sign_in(&self, passed: Duration, pin: &SecretString) -> Result<Begun, LedgerError> {
        let terminals = self.after(passed);
        terminals.sign_in(&self.world.center, &at_t1(), "0001", pin).await
    }
}

fn at_t1() -> Seller {
    TerminalId::parse("T1").unwrap().into()
}

async fn with_pin(ages: &Ages) -> SecretString {
    let terminals = ages.after(Duration::ZERO);
    let (center, card) = (&ages.world.center, CardId::parse("0001").unwrap());
    terminals
        .issue_card(center, &card, &id("D1"), "admin/root")
        .await
        .unwrap();
    terminals.reset_pin(center, &card, "admin/root").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_grows_with_every_failure_and_ends_with_the_right_pin() {
    let ages = Ages::begin().await;
    let pin = with_pin(&ages).await;
    let wrong = SecretString::from(if pin.expose_secret() == "000000" {
        "000001"
    } else {
        "000000"
    });
    let told = |answer: Result<Begun, LedgerError>| reason(&answer.map(|begun| begun.expires_at).unwrap_err());
    for _ in 0..5 {
        assert_eq!(told(ages.sign_in(Duration::SECOND, &wrong).await), "SIGN_IN_REFUSED");
    }
    // Locked for 1, 2, 4 minutes, each from the failure before it, also for the right PIN.
    let mut passed = Duration::SECOND;
    for minutes in [1, 2, 4] {
        let lock = Duration::minutes(minutes);
        let early = ages.sign_in(passed + lock - Duration::seconds(20), &pin).await;
        let Err(LedgerError::Refused { refusal, .. }) = early else {
            panic!("not locked after {minutes} minutes");
        };
        let until = OffsetDateTime::parse(refusal.fact("until").unwrap(), &Rfc3339).unwrap();
        assert!(
            (until - (START + passed + lock)).abs() < Duration::seconds(15),
            "{until}"
        );
        passed += lock + Duration::seconds(20);
        assert_eq!(told(ages.sign_in(passed, &wrong).await), "SIGN_IN_REFUSED");
    }
    passed += Duration::minutes(9);
    ages.sign_in(passed, &pin).await.unwrap();
    // From the start again.
    assert_eq!(told(ages.sign_in(passed, &wrong).await), "SIGN_IN_REFUSED");
    ages.sign_in(passed, &pin).await.unwrap();
    ages.world.verified().await;
}

/// What the token of a session stands for, and how long.
fn read(ages: &Ages, begun: &Begun, at: OffsetDateTime) -> Option<Actor> {
    let key = TokenKey::load_or_create(ages.keys.path()).unwrap();
    Verifier::new(key.public()).verify(begun.token.expose_secret(), at).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_itself_and_with_the_release() {
    let ages = Ages::begin().await;
    let (center, pin) = (&ages.world.center, with_pin(&ages).await);
    let first = ages.sign_in(Duration::ZERO, &pin).await.unwrap();
    let actor = read(&ages, &first, START + Duration::minutes(9)).unwrap();
    assert_eq!((actor.role, actor.name().as_str()), (Role::Detainee, "detainee/D1@T1"));
    assert_eq!(read(&ages, &first, START + Duration::minutes(11)), None);
    let seller = Seller::of(&actor, None).unwrap();
    let own = "271828".into();
    let terminals = ages.after(Duration::ZERO);
    let begun = terminals
        .change_pin(center, (&seller, &actor.name()), &pin, &own)
        .await
        .unwrap();
    let actor = read(&ages, &begun, START).unwrap();
    let seller = Seller::of(&actor, None).unwrap();
    terminals.admit(center, &seller).await.unwrap();
    let later = ages.after(Duration::minutes(11));
    assert_eq!(
        reason(&later.admit(center, &seller).await.unwrap_err()),
        "SESSION_ENDED"
    );

    let mut tx = ages.world.process.database.lane.begin().await.unwrap();
    center::touch_rules_in_tx(&mut tx, center.no).await.unwrap();
    custody::set_state_in_tx(&mut tx, center, &id("D1"), DetaineeState::Released)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        reason(&terminals.admit(center, &seller).await.unwrap_err()),
        "SESSION_ENDED"
    );
    let refused = terminals.sign_in(center, &at_t1(), "0001", &own).await;
    assert_eq!(
        reason(&refused.map(|begun| begun.expires_at).unwrap_err()),
        "SIGN_IN_REFUSED"
    );
}

#[test]
fn no_token_of_a_session_is_made_by_hand() {
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        payer: None,
        terminal: Some(TerminalId::parse("T1").unwrap()),
    };
    assert!(Actor::new("D1", Role::Detainee, scope).is_err());
}
