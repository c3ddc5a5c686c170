use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::secret::Secret;
use crate::store::Purposes;
use crate::token::Claims;
use crate::token::keys::LogKey;

fn id(number: u64) -> TokenId {
    TokenId((u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes())
}

fn log_key(byte: u8) -> LogKey {
    LogKey::new(&Secret::new(vec![byte; 32]))
}

fn clock() -> Clock {
    Clock::manual(START)
}

const START: UnixTime = UnixTime::from_secs(1_800_000_000);

fn setup(folder: &Path) -> StoreSetup {
    StoreSetup {
        folder: folder.to_owned(),
        max_entries: 100_000,
        log_key: Arc::new(log_key(1)),
    }
}

fn open(folder: &Path, clock: &Clock) -> Arc<Embedded> {
    Embedded::open(&setup(folder), clock.clone()).unwrap()
}

fn issued(expires: UnixTime) -> Issued {
    let mut claims = Claims::empty(id(0));
    claims.expires = Some(expires);
    claims.subject = Some("43".into());
    Issued {
        claims: Arc::new(claims),
        purposes: Purposes::FILE.and(Purposes::LOGIN),
        exchange_secs: 9,
    }
}

fn refresh(subject: &str, seconds: u64) -> Refresh {
    Refresh {
        subject: subject.into(),
        scope: "files:read".into(),
        client: "app".into(),
        expires: START.after(Duration::from_secs(seconds)),
    }
}

fn later(seconds: u64) -> UnixTime {
    START.after(Duration::from_secs(seconds))
}

#[tokio::test]
async fn what_was_said_to_be_done_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = open(folder.path(), &clock);
    store.remember(id(1), issued(later(60))).await.unwrap();
    assert!(store.uses.spend(id(1), Use::Spent, later(120)).await.unwrap());
    assert!(!store.uses.spend(id(1), Use::Spent, later(120)).await.unwrap());
    let token = Revocation::Token {
        id: id(2),
        expires: Some(later(60)),
    };
    let subject = Revocation::Subject {
        subject: "42".into(),
        before: START,
    };
    let key = Revocation::Key { kid: "old".into() };
    for revocation in [token, subject, key] {
        store.revoke(revocation).await.unwrap();
    }
    store.remember_refresh(id(3), refresh("43", 60)).await.unwrap();
    assert_eq!(store.entries(), 6);
    store.close();

    let mode = std::fs::metadata(folder.path().join("store.redb"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let store = open(folder.path(), &clock);
    assert_eq!(store.entries(), 6);
    let known = store.recall(id(1)).unwrap().unwrap();
    assert_eq!(known.claims.subject.as_deref(), Some("43"));
    assert_eq!(known.purposes, Purposes::FILE.and(Purposes::LOGIN));
    assert_eq!(known.exchange_secs, 9);
    assert!(store.recall(id(9)).unwrap().is_none());
    assert_eq!(store.journal.read_use(id(1)).unwrap(), Some(Use::Spent));
    assert_eq!(store.journal.read_use(id(9)).unwrap(), None);
    assert!(!store.uses.spend(id(1), Use::Spent, later(120)).await.unwrap());
    let revoked = store.revoked();
    assert!(revoked.covers(&Claims::empty(id(2))) && !revoked.covers(&Claims::empty(id(1))));
    let of_subject = Claims {
        subject: Some("42".into()),
        ..Claims::empty(id(9))
    };
    let of_key = Claims {
        key: Some("old".into()),
        ..Claims::empty(id(9))
    };
    assert!(revoked.covers(&of_subject) && revoked.covers(&of_key));
    assert_eq!(store.take_refresh(id(3)).await.unwrap(), Some(refresh("43", 60)));
    assert_eq!(store.take_refresh(id(3)).await.unwrap(), None);
    store.close();
}
