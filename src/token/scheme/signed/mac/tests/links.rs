//! Links that others computed, and what is said of them.

use super::*;

#[test]
fn links_of_the_vendors_documents_are_good() {
    let own = Rules {
        name: "mac",
        time: Time::Issued {
            text: TimeText::Seconds,
            ttl: Duration::from_secs(60),
            early: Early::Refused,
        },
        ..altered(
            "tencent_c",
            b"dimtm5evg50ijsx2hvuwyfoiu65",
            "{secret}{issued}{path_raw}",
            "/{mac}/{issued}",
        )
    };
    let alibaba = |place| {
        altered(
            "alibaba_c",
            b"aliyuncdnexp1234",
            "{secret}{path_raw}{issued}",
            place,
        )
    };
    let tencent = |preset| rules(preset, b"DvYmqE81E1F9R791H6lmht");
    let links = [
        (
            tencent("tencent_b"),
            "/202407151533/d1f0b51c6894231fc12e054fcc7f0b3e/foo.jpg",
            1_721_028_780,
            1800,
        ),
        (
            tencent("tencent_c"),
            "/6688749e8906a726c12fe1be3aacd016/6694d30a/foo.jpg",
            0x6694_d30a,
            1800,
        ),
        (
            alibaba("/{mac}/{issued}"),
            "/a37fa50a5fb8f71214b1e7c95ec7a1bd/55CE8100/test.flv",
            0x55ce_8100,
            1800,
        ),
        (
            alibaba("?KEY1={mac}&KEY2={issued}"),
            "/test.flv?KEY1=a37fa50a5fb8f71214b1e7c95ec7a1bd&KEY2=55CE8100",
            0x55ce_8100,
            1800,
        ),
        (
            own,
            "/ea68b93ac23ebbc6eebf7f163c6e9c4c/1582791032/test.jpg",
            1_582_791_032,
            59,
        ),
    ];
    for (rules, link, issued, last) in links {
        let mac = built(rules);
        for (at, good) in [(issued, true), (issued + last, true), (issued + 1801, false)] {
            let judged = judge_at(&mac, link, UnixTime::from_secs(at));
            assert_eq!(judged.is_ok(), good, "{link} at {at}: {judged:?}");
        }
    }
}

#[test]
fn presets_without_vectors_mint_what_another_program_computes() {
    let links = [
        (
            "hmac_secure_link",
            "/videos/show%201/master.m3u8?st=NzhwBcCc_5mdJ-4oLGEk3jS1Bk37tdpgDkNe0D8zrEY&ts=2026-01-01T00:00:00+00:00&e=3600",
            3601,
        ),
        (
            "mod_auth_token",
            "/e0f0e76fc471064b88aa411ada200d15/6955b900/videos/show%201/master.m3u8",
            61,
        ),
        (
            "bunny_v1",
            "/videos/show%201/master.m3u8?token=oojntA78wZiglRyws8EWdg&expires=1767229200",
            3600,
        ),
        (
            "vcdn",
            "/0b90e16f9f06cb06c99501ad49b4adf0/1767229200000/videos/show%201/master.m3u8",
            3600,
        ),
        (
            "byteplus_a",
            "/videos/show%201/master.m3u8?auth_key=1767225600-abc-0-e54bcfd3d177dd002c9b979d801c1fe0",
            1801,
        ),
    ];
    for (preset, link, lasts) in links {
        let mac = built(rules(preset, SECRET));
        let target = target("/videos/show%201/master.m3u8");
        let folder = folder(&mac, &target);
        let wish = Wish {
            opens: folder.as_ref(),
            expires: now().after(Duration::from_secs(lasts)),
            id: (preset == "byteplus_a").then_some("abc"),
            ..wish(&target)
        };
        assert_eq!(url(mac.sign(&wish)), link);
        let (claims, judged) = judge(&mac, link).expect("a good link");
        assert_eq!((claims.expires, judged), (Some(wish.expires), target));
    }
}

#[test]
fn every_algorithm_is_what_another_program_has() {
    let macs = [
        ("md5", "3c1492959a8dc3cefd6edd283d22f45c"),
        ("hmac-md5", "1d6629257245b484bffb7b24d4a36c91"),
        ("sha1", "a2afcd2c0e77e22ff43e0ba0478f269da59a2852"),
        ("hmac-sha1", "1901412e61917dd62536795ded334be3eeadcdc3"),
        (
            "sha256",
            "ebb21678dc1dc8ffa1fcc787bf3181232be2b3d34e92e9059c579f487e5b408b",
        ),
        (
            "hmac-sha256",
            "1b3defdbd1bddff603e62083bdbe5710598b22fa4a6337ec9ec9ee4c4f60090a",
        ),
        (
            "sha384",
            "575362c9005ada3e6b90d6ac84b6d607852c4bc770532d2acd25307d9cd89ebaf57691c176815e4fe6ff67b7be04fbba",
        ),
        (
            "hmac-sha384",
            "9753a99d9ad6d0f1da9b6e08435b4dbf5e92e3e9ffb3345274e607a4e1bd69dcedcf714afaaa0195e5c444782f87b74b",
        ),
        (
            "sha512",
            "b338b41e3e64df478eb91ba31b1718e256ef2cad76f7c98f0492dd6344216a43\
             92aac8744847c7680d05f8793eeed79ed43a5686162de1a8e5df584de5a42148",
        ),
        (
            "hmac-sha512",
            "940c4892f7097fd234e3e3ddf4313aec7ee233ccabf66f55040a5f5829155cb2\
             d574b5ed2089793090c984b6b9799129d783466b130d2730d3dd38a27af3afd9",
        ),
    ];
    for (name, mac) in macs {
        let algorithm = Algorithm::parse(name).expect("an algorithm");
        assert_eq!(algorithm.to_string(), name);
        let pattern = match algorithm {
            Algorithm::Plain(_) => "{path}:{expires}:{secret}",
            Algorithm::Hmac(_) => "{path}:{expires}",
        };
        let place = "?mac={mac}&until={expires}";
        let engine = built(Rules {
            algorithm,
            time: Time::Expires(TimeText::Seconds),
            ..altered("alibaba_c", SECRET, pattern, place)
        });
        let wish_target = target("/a");
        let expected = format!("/a?mac={mac}&until=1767229201");
        // The last second counts here, so that a link that says an hour is over a second later.
        let one_later = Wish {
            expires: UnixTime::from_secs(1_767_229_201),
            ..wish(&wish_target)
        };
        let link = url(engine.sign(&one_later));
        assert_eq!(link, expected.replace("1767229201", "1767229200"));
        assert!(judge(&engine, &link).is_ok());
    }
}

#[test]
fn wowza_sorts_the_secret_among_the_parameters_and_signs_those_it_does_not_know() {
    for (secret, hash) in [
        ("xyzSharedSecret", "We0UxRKa9sXOAlESBtBHzHM7xoI5aquyRQOrC--6uVk="),
        ("AAA", "QMEWSV7csjjZhVCT6Uzawao_laJTNn7eAdaMSmeVqt4="),
    ] {
        let mac = built(rules("wowza", secret.as_bytes()));
        let query = |custom: &str| {
            format!(
                "/vod/sample.mp4/manifest.mpd?a=1&wowzatokenCustomParameter={custom}&wowzatokenendtime=1767229200\
                 &wowzatokenhash={hash}"
            )
        };
        let (_, target) = judge(&mac, &query("abcdef")).expect("a good link");
        assert_eq!(target.as_str(), "/vod/sample.mp4/manifest.mpd?a=1");
        assert!(judge(&mac, &query("abcdeg")).is_err());
    }
}

#[test]
fn every_preset_mints_links_that_it_believes_until_their_end() {
    let mut names = std::collections::BTreeSet::new();
    for preset in PRESETS {
        assert!(names.insert(preset.name) && Preset::named(preset.short()).is_some());
        let rules = Rules {
            without_expiry: preset.time == Time::Absent,
            ..rules(preset.short(), SECRET)
        };
        let mac = built(rules);
        assert_eq!(mac.name(), preset.name);
        assert_eq!(mac.statuses(), preset.statuses);
        // Times that are rounded to the minute or the second are still what is asked for.
        let lasts = match preset.time {
            Time::Window { timeout, .. } => timeout,
            _ => Duration::from_secs(1800),
        };
        let expires = match preset.time {
            Time::Absent => NEVER,
            time if preset.equal_is_valid => now().after(lasts).after(time.text().expect("a time").step()),
            _ => now().after(lasts),
        };
        let target = target("/live/stream/seg%201.ts");
        let folder = folder(&mac, &target);
        let link = url(mac.sign(&Wish {
            opens: folder.as_ref(),
            expires,
            address: mac
                .binds_address()
                .then(|| "203.0.113.7/32".parse().expect("an address")),
            ..wish(&target)
        }));
        let (claims, judged) = judge(&mac, &link).unwrap_or_else(|error| panic!("{link}: {error}"));
        assert_eq!(judged, target, "{link}");
        assert_eq!(claims.key.as_deref(), Some("first"));
        if expires != NEVER {
            assert_eq!(claims.expires, Some(expires), "{link}");
            assert!(
                judge_at(&mac, &link, expires.before(Duration::from_millis(1))).is_ok(),
                "{link}"
            );
            assert_eq!(
                judge_at(&mac, &link, expires).expect_err("over"),
                "Expired",
                "{link}"
            );
        }
    }
    assert!(Preset::named("mac:keycdn").is_none() && Preset::named("").is_none());
}
