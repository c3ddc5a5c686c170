//! Whatever is changed.

use proptest::prelude::*;

use super::*;
use crate::token::scheme::signed::dice::Dice;

proptest! {
    #[test]
    fn what_is_presigned_is_taken_and_nothing_else(
        key_text in "[ -~\u{e4}]{1,20}x", query in prop::option::of("[a-z0-9=%&+]{1,20}"),
        life in 1..604_800u32, at in 0..604_800u32, other in "[A-Z]{1,6}",
    ) {
        let scheme = scheme([key(signer("AK", "secret", Some("token")))]);
        let path = format!("/b/{}", key_text.replace(['/', '\\', '%', ';'], "-"));
        let target = Target::from_decoded(&path).unwrap().with_query(query.as_deref()).unwrap();
        let public = public();
        let wish = Wish { expires: NOW.after(Duration::from_secs(life.into())), ..wish(&public, &target) };
        let link = link(&scheme, &wish);
        let now = NOW.after(Duration::from_secs(at.into()));
        match asking("GET", &link, &[], now).judge(&scheme, Duration::ZERO) {
            Ok((claims, judged)) => {
                prop_assert!(at < life);
                prop_assert_eq!(claims.expires, Some(wish.expires));
                prop_assert_eq!(judged.path(), target.path());
                let spelled = |target: &Target| canonical_query(target.query().unwrap_or(""), |_| true);
                prop_assert_eq!(spelled(&judged), spelled(&target));
            }
            Err(what) => {
                prop_assert!(at >= life);
                prop_assert_eq!(what, "Expired");
            }
        }
        let refused = |method: &str, link: &str| {
            let error = judge(&scheme, method, link, NOW).unwrap_err();
            error.starts_with("verify") || error.starts_with("take")
        };
        let (path, query) = link.split_once('?').unwrap();
        prop_assert!(judge(&scheme, "GET", &link, NOW).is_ok());
        let longer = format!("{path}{other}?{query}");
        prop_assert!(refused("GET", &longer));
        let more = format!("{link}&{other}");
        prop_assert!(refused("GET", &more));
        prop_assert!(refused("HEAD", &link));
        let (_, last) = link.rsplit_once('&').unwrap();
        let without = link.replace(last, "");
        prop_assert!(refused("GET", &without));
    }
}

/// What the format leaves open: how parameters are percent-encoded, and in which order they stand. What is allowed has to be the same
/// path and the same query, once both are in the one spelling that is signed.
#[test]
fn of_a_hundred_thousand_changed_urls_none_is_allowed_that_says_something_else() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let names = [
        "valid_path_style",
        "valid_session_token",
        "valid_response_params",
        "valid_special_key",
        "valid_version_id",
    ];
    let spelled = |request: &Asking| {
        let mut path = String::new();
        encode_path(&request.path, &mut path);
        (path, canonical_query(request.query.as_deref().unwrap(), |_| true))
    };
    let (mut same, mut tried) = (0, 0);
    for json in file["cases"].as_array().unwrap() {
        let case = Case {
            json,
            profile: &file["profiles"]["default"],
            keys: &file["keys"],
        };
        if !names.contains(&case.text("name")) {
            continue;
        }
        let (scheme, original) = (of_case(&case), case.request());
        let before = spelled(&original);
        let url = format!("{}?{}", original.path, original.query.as_deref().unwrap());
        for _ in 0..20_000 {
            tried += 1;
            let changed = dice.changed(&url);
            let Some((path, query)) = changed.split_once('?') else {
                continue;
            };
            let request = Asking {
                path: path.to_owned(),
                query: Some(query.to_owned()),
                method: Method::GET,
                public: original.public.clone(),
                headers: HeaderMap::new(),
                ..original
            };
            if request.judge(&scheme, Duration::ZERO).is_ok() {
                same += 1;
                assert_eq!(spelled(&request), before, "{}: {changed}", case.text("name"));
            }
        }
    }
    assert_eq!(tried, 100_000);
    // Some are the same request: the test looks at what it means to.
    assert!(same > 50, "{same}");
}
