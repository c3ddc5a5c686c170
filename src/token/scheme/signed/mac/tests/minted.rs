//! What the vectors hold is what is minted.

use super::*;

/// Good links that are written as nobody writes them here: the MAC is the same, and the rest of the link is not.
const OTHERWISE: [(&str, &str); 14] = [
    ("md5_padded", "is minted without padding"),
    ("extra_param_after", "the token stands last"),
    ("param_order", "the MAC stands first"),
    ("arg_case", "names are written in lower case"),
    ("dup_first_good", "is minted once"),
    ("encoded_path", "parentheses need no encoding"),
    ("overencoded_path", "letters need no encoding"),
    ("dot_segments", "paths are minted resolved"),
    ("double_slash", "paths are minted resolved"),
    ("encoded_slash", "paths are minted resolved"),
    ("secret_upper_hex", "digits are written in lower case"),
    ("md5_upper_hex", "digits are written in lower case"),
    ("raw_base64", "Base64 is percent-encoded in a query"),
    ("fastly_0x", "is minted without a mark"),
];

#[test]
fn good_links_of_the_vectors_are_minted_to_the_letter() {
    let (mut minted, mut otherwise) = (0, Vec::new());
    for (file, build, _) in FILES {
        each(file, build, |case, mac| {
            if case.text("expect") != "allow" {
                return;
            }
            let name = case.text("name");
            let request = case.request();
            let (claims, target) = request.judge(&mac, Duration::ZERO).expect("a good link");
            let folder = folder(&mac, &target);
            let signed = mac.sign(&Wish {
                opens: folder.as_ref(),
                public: Some(&request.public),
                now: request.now,
                not_before: claims.not_before.filter(|_| name.starts_with("wowza")),
                expires: claims.expires.unwrap_or(NEVER),
                address: claims.addresses.as_deref().and_then(|nets| nets.first().copied()),
                subject: claims.subject.as_deref(),
                id: claims.id.as_deref(),
                ..wish(&target)
            });
            let ours = url(signed);
            let theirs = case.text("url").splitn(4, '/').nth(3).expect("a path");
            match ours.get(1..) == Some(theirs) {
                true => minted += 1,
                false => otherwise.push(name.to_owned()),
            }
            // Whatever it looks like, it is the same MAC.
            let again = format!("https://media.example.com{ours}");
            let again = Request::new("GET", &again, HeaderMap::new(), request.client, request.now);
            let (again, _) = again.judge(&mac, Duration::ZERO).expect("our own link");
            assert_eq!(again.token_id, claims.token_id, "{name}");
            assert_eq!(again.expires, claims.expires, "{name}");
        });
    }
    otherwise.sort();
    let mut excused = OTHERWISE.map(|(name, _)| name.to_owned());
    excused.sort();
    assert_eq!(otherwise, excused);
    assert_eq!(minted, 52);
}
