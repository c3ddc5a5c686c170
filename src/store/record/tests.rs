use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::store::wire::VERSION;

fn text() -> impl Strategy<Value = Box<str>> {
    any::<String>().prop_map(String::into_boxed_str)
}

fn time() -> impl Strategy<Value = UnixTime> {
    any::<i64>().prop_map(UnixTime::from_millis)
}

fn opens() -> impl Strategy<Value = Opens> {
    prop_oneof![
        text().prop_map(Opens::Exact),
        text().prop_map(Opens::Prefix),
        text().prop_map(Opens::MediaId),
        text().prop_map(Opens::StartsWith),
        "/[a-z]{1,9}/\\*{1,2}(/[a-z*]{1,9})?".prop_map(|glob| Opens::parse(&glob).unwrap()),
    ]
}

fn net() -> impl Strategy<Value = IpNet> {
    (any::<IpAddr>(), any::<u8>()).prop_map(|(address, length)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length % (most + 1)).unwrap()
    })
}

fn methods() -> impl Strategy<Value = Methods> {
    let names: Vec<&str> = Methods::ALL.names().collect();
    proptest::sample::subsequence(names, 0..=6).prop_map(|names| Methods::parse(names).unwrap())
}

prop_compose! {
    fn claims()(
        id in any::<[u8; 16]>(),
        texts in [proptest::option::of(text()), proptest::option::of(text()), proptest::option::of(text()),
            proptest::option::of(text()), proptest::option::of(text())],
        times in [proptest::option::of(time()), proptest::option::of(time()), proptest::option::of(time())],
        once in any::<bool>(),
        scope in proptest::option::of(vec(opens(), 0..5)),
        methods in proptest::option::of(methods()),
        addresses in proptest::option::of(vec(net(), 0..5)),
        rate in any::<Option<u64>>(),
        streams in any::<Option<u32>>(),
        parameters in vec((text(), text().prop_map(Parameter::Text)), 0..4),
        named in vec((text(), text()), 0..4),
    ) -> Claims {
        let [subject, own, issuer, key, filename] = texts;
        let [issued, not_before, expires] = times;
        Claims {
            token_id: TokenId(id),
            subject,
            id: own,
            issuer,
            issued,
            key,
            not_before,
            expires,
            uses: if once { Uses::Once } else { Uses::UntilExpiry },
            scope: scope.map(|opens| Scope(opens.into())),
            methods,
            addresses: addresses.map(Vec::into_boxed_slice),
            limits: Limits { rate, streams },
            filename,
            parameters: parameters.into(),
            named: named.into(),
            renewal: None,
        }
    }
}

prop_compose! {
    fn session()(
        hashes in [any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 16]>()],
        cookie_shown in any::<bool>(),
        etag in any::<Option<[u8; 16]>>(),
        times in [time(), time(), time()],
        completed in proptest::option::of(time()),
        size in any::<Option<u64>>(),
        handed in any::<u64>(),
        covered in vec(any::<(u64, u64)>(), 0..20),
    ) -> Session {
        let [client, cookie, target] = hashes;
        let [opened, ends, last_byte] = times;
        Session { client, cookie, cookie_shown, target, etag, opened, ends, last_byte, completed, size, handed, covered }
    }
}

/// Whatever is cut off or put after a record makes it unreadable; whatever is changed in it is read as something or not at
/// all, and nobody panics.
fn damage<T>(record: &[u8], read: impl Fn(&[u8]) -> Result<T, BadRecord>, at: usize, byte: u8) {
    for length in 0..record.len() {
        assert!(read(&record[..length]).is_err());
    }
    let mut longer = record.to_vec();
    longer.push(byte);
    assert!(read(&longer).is_err());
    let mut changed = record.to_vec();
    let at = at % record.len();
    changed[at] = byte;
    let _ = read(&changed);
    changed[0] = VERSION + 1;
    assert!(read(&changed).is_err());
}

proptest! {
    #[test]
    fn a_token_is_read_as_it_was_written(
        claims in claims(), until in time(), later in time(), purposes in 0_u8..8, exchange_secs: u32,
        at: usize, byte: u8,
    ) {
        let purposes = Purposes::from_bits(purposes).unwrap();
        let issued = Issued { claims: Arc::new(claims), purposes, exchange_secs };
        let record = write_issued(&issued, until);
        prop_assert_eq!(super::until(&record), Ok(until));
        let read = read_issued(&record).unwrap();
        prop_assert_eq!(format!("{:?}", &read), format!("{issued:?}"));
        prop_assert_eq!(write_issued(&read, until), record.clone());
        let kept = kept_until(&record, later);
        prop_assert_eq!(kept, write_issued(&issued, later));
        damage(&record, read_issued, at, byte);
    }

    #[test]
    fn a_session_is_read_as_it_was_written(session in session(), until in time(), at: usize, byte: u8) {
        let open = Use::Open(session);
        let record = write_use(&open, until).unwrap();
        prop_assert_eq!(read_use(&record), Ok(open));
        prop_assert_eq!(super::until(&record), Ok(until));
        damage(&record, read_use, at, byte);
    }

    #[test]
    fn a_refresh_token_is_read_as_it_was_written(
        subject in text(), scope in text(), client in text(), issued in time(), expires in time(), at: usize, byte: u8,
    ) {
        let refresh = Refresh { subject, scope, client, issued, expires };
        let record = write_refresh(&refresh);
        prop_assert_eq!(read_refresh(&record), Ok(refresh));
        damage(&record, read_refresh, at, byte);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..200)) {
        let _ = (read_use(&bytes), read_issued(&bytes), read_refresh(&bytes), super::until(&bytes));
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        let _ = (read_issued(&bytes), read_refresh(&bytes));
        // A use is never read as a fresh one.
        if let Ok(read) = read_use(&bytes) {
            prop_assert!(matches!(read, Use::Open(_) | Use::Spent));
        }
    }
}

#[test]
fn what_is_not_spent_is_not_written_and_what_is_takes_ten_bytes() {
    let reservation = crate::store::uses::Reservation {
        owner: 1,
        lease: UnixTime::default(),
    };
    assert_eq!(write_use(&Use::Fresh, UnixTime::default()), None);
    assert_eq!(write_use(&Use::Reserved(reservation), UnixTime::default()), None);
    let spent = write_use(&Use::Spent, UnixTime::from_secs(1)).unwrap();
    assert_eq!(spent.len(), 10);
    assert_eq!(read_use(&spent), Ok(Use::Spent));
    damage(&spent, read_use, 3, 9);
}

#[test]
fn of_parameters_the_texts_are_kept_and_one_without_a_value_makes_the_record_unreadable() {
    let issued = |value: Parameter| Issued {
        claims: Arc::new(Claims {
            parameters: Box::new([("w".into(), value)]),
            ..Claims::empty(TokenId([0; 16]))
        }),
        purposes: Purposes::default(),
        exchange_secs: 0,
    };
    let read = |value: Parameter| read_issued(&write_issued(&issued(value), UnixTime::default()));
    for (value, text) in [
        (Parameter::Number(300.into()), "300"),
        (Parameter::Truth(true), "true"),
    ] {
        let kept = read(value).unwrap();
        assert_eq!(*kept.claims.parameters, [("w".into(), text.into())]);
    }
    assert!(read(Parameter::Withheld).is_err());
}
