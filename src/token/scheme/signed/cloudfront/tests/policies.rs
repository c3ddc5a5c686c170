//! Policies that somebody signed and nobody should have.

use super::*;

/// Signs what nobody should.
fn sign(scheme: &CloudFront, text: &str) -> String {
    let signer = scheme.rules.signer.as_ref().unwrap();
    let signature = signer.key.sign(text.as_bytes()).unwrap();
    format!(
        "Signature={}&Key-Pair-Id=K1&Hash-Algorithm=SHA256",
        letters::write(&signature)
    )
}

#[test]
fn a_policy_that_says_more_or_less_than_is_understood_opens_nothing() {
    let scheme = issuer(&p256_key());
    let judge = |policy: &str| {
        let word = letters::write(policy.as_bytes());
        judge(
            &scheme,
            &format!("/a?Policy={word}&{}", sign(&scheme, policy)),
            NOW,
        )
    };
    let ends = r#""DateLessThan":{"AWS:EpochTime":1767229200}"#;
    let of = |condition: &str| format!(r#"{{"Statement":[{{"Resource":"*","Condition":{{{condition}}}}}]}}"#);
    for good in [
        of(ends),
        of(&ends.replace("1767229200", "1767229200.0")),
        of(&format!(r#"{ends},"IpAddress":{{"AWS:SourceIp":"203.0.113.7"}}"#)),
        of(&format!(r#"{ends},"DateGreaterThan":{{"AWS:EpochTime":0}}"#)),
        format!(" {} \n", of(ends)),
        // Escapes are read before the wildcards.
        of(ends).replace("\"*\"", r#""\u0068ttps:\/\/media.example.com/\u002a""#),
    ] {
        assert!(judge(&good).is_ok(), "{good}");
    }
    for bad in [
        "{}",
        "[]",
        r#"{"Statement":[]}"#,
        &of(""),
        &of(&ends.replace("1767229200", "\"1767229200\"")),
        &of(&ends.replace("1767229200", "-1")),
        &of(&ends.replace("1767229200", "1767229200.5")),
        &of(&ends.replace("1767229200", "1e400")),
        &of(&ends.replace("1767229200", "null")),
        &of(&ends.replace("AWS:EpochTime", "aws:EpochTime")),
        &of(&ends.replace("1767229200", "1767229200,\"x\":1")),
        &of(&ends.replace("DateLessThan", "DateLessThanEquals")),
        &of(&ends.replace("{\"AWS:EpochTime\":1767229200}", "1767229200")),
        &of(&format!("{ends},{ends}")),
        &of(&format!(r#"{ends},"StringEquals":{{}}"#)),
        &of(&format!(
            r#"{ends},"IpAddress":{{"AWS:SourceIp":"2001:db8::/32"}}"#
        )),
        &of(&format!(
            r#"{ends},"IpAddress":{{"AWS:SourceIp":"203.0.113.7/33"}}"#
        )),
        &of(&format!(r#"{ends},"IpAddress":{{"AWS:SourceIp":""}}"#)),
        &of(&format!(
            r#"{ends},"IpAddress":{{"AWS:SourceIp":["203.0.113.7"]}}"#
        )),
        &of(&format!(r#"{ends},"IpAddress":{{}}"#)),
        &of(ends).replace("\"Resource\":\"*\",", ""),
        &of(ends).replace("\"*\"", "\"\""),
        &of(ends).replace("\"*\"", "[\"*\"]"),
        &of(ends).replace("\"*\"", &format!("\"*{}\"", "a".repeat(2048))),
        &of(ends).replace("\"Resource\"", "\"Effect\":\"Allow\",\"Resource\""),
        &of(ends).replace("\"Resource\"", "\"NotResource\""),
        &of(ends).replace("{\"Statement\"", "{\"Version\":\"2012-10-17\",\"Statement\""),
        &of(ends).replace("}]}", "},{}]}"),
        &format!("{}{}", of(ends), of(ends)),
        "\u{feff}{}",
    ] {
        let error = judge(bad).unwrap_err();
        assert!(error.starts_with("verify: "), "{bad}: {error}");
    }
}

#[test]
fn a_url_cannot_end_the_quotes_of_a_canned_policy() {
    let scheme = issuer(&p256_key());
    // Two statements, which open nothing, are also the canned policy of a URL that holds most of them.
    let start = r#"{"Statement":[{"Resource":"https://media.example.com/a?"#;
    let query = r#"b","Condition":{"IpAddress":{"AWS:SourceIp":"192.0.2.1"}}},{"Resource":"c"#;
    let end = r#"","Condition":{"DateLessThan":{"AWS:EpochTime":1767229200}}}]}"#;
    let signed = &format!("{start}{query}{end}");
    let link = format!("/a?{query}&Expires=1767229200&{}", sign(&scheme, signed));
    assert_eq!(
        judge(&scheme, &link, NOW).unwrap_err(),
        "verify: not a token of this scheme: no canned policy says this URL"
    );
}
