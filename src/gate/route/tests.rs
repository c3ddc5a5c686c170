//! Routing by host and raw path.

use super::*;
use crate::gate::tests::route;

fn name<'r>(router: &'r Router, host: Option<&str>, path: &str) -> Option<&'r str> {
    router.find(host, path).map(|route| &*route.name)
}

#[test]
fn the_longest_prefix_on_a_segment_boundary_wins() {
    let router = Router::new([
        route("root", None, "", &[]),
        route("media", None, "/media", &[]),
        route("deep", None, "/media/a/b", &[]),
        route("space", None, "/a b", &[]),
    ])
    .unwrap();
    for (path, expected) in [
        ("/", "root"),
        ("/x", "root"),
        ("/media", "media"),
        ("/media/", "media"),
        ("/media/x/y/z", "media"),
        ("/mediax", "root"),
        ("/media/a/b", "deep"),
        ("/media/a/b/c/d", "deep"),
        ("/media/a/bc", "media"),
        ("/%6dedia/x", "media"),
        ("/a%20b/x", "space"),
        ("/media%2fa%2fb", "deep"), // refused afterwards, by `Target::parse`
    ] {
        assert_eq!(name(&router, None, path), Some(expected), "{path}");
    }
}

#[test]
fn a_hosts_own_routes_come_first() {
    let router = Router::new([
        route("any", None, "", &[]),
        route("one", Some("one.example"), "/a", &[]),
    ])
    .unwrap();
    assert_eq!(name(&router, Some("one.example"), "/a/x"), Some("one"));
    assert_eq!(name(&router, Some("one.example"), "/b"), Some("any"));
    assert_eq!(name(&router, Some("two.example"), "/a/x"), Some("any"));
    assert_eq!(name(&router, None, "/a"), Some("any"));
}

#[test]
fn a_path_prefix_token_is_looked_past_where_the_route_has_that_carrier() {
    let marker = [Carrier::PathPrefix { marker: "~".into() }];
    let router = Router::new([route("root", None, "", &[]), route("hls", None, "/hls", &marker)]).unwrap();
    assert_eq!(name(&router, None, "/~token/hls/a.m3u8"), Some("hls"));
    assert_eq!(name(&router, None, "/%7Etoken/hls/a.m3u8"), Some("hls"));
    assert_eq!(name(&router, None, "/~token/other"), Some("root"));
    assert_eq!(name(&router, None, "/~token"), Some("root"));
    assert_eq!(name(&router, None, "/hls/a.m3u8"), Some("hls"));
}

#[test]
fn two_routes_that_cannot_be_told_apart_are_refused() {
    let error = Router::new([route("a", None, "/x", &[]), route("b", None, "/x", &[])]).unwrap_err();
    assert_eq!(error, SameRoute("a".into(), "b".into()));
    assert!(Router::new([route("a", None, "/x", &[]), route("b", Some("h"), "/x", &[])]).is_ok());
}

#[test]
fn a_path_with_variables_is_found_by_its_shape_and_the_deepest_wins() {
    let templated = |name: &str, path: &str| {
        let plain = Arc::into_inner(route(name, None, "", &[])).unwrap();
        let templates = RouteTemplate::parse(path).unwrap().into();
        Arc::new(Route { templates, ..plain })
    };
    let router = Router::new([
        route("root", None, "", &[]),
        route("api", None, "/api/public", &[]),
        templated("pdf", "/[{lang}/]api/public/invoices/{id}/pdf"),
        templated("public", "/{lang}/api/public"),
    ])
    .unwrap();
    for (path, expected) in [
        ("/api/public/invoices/42/pdf", "pdf"),
        ("/en/api/public/invoices/42/pdf", "pdf"),
        ("/en/api/public/invoices/42/pdf/more", "pdf"),
        ("/api/public/invoices/42/xml", "api"),
        ("/en/api/public/x", "public"),
        ("/en/api/private", "root"),
        ("/en%2Fapi/public", "public"), // refused afterwards, by `Target::parse`
        ("/%65n/api/public", "public"),
    ] {
        assert_eq!(name(&router, None, path), Some(expected), "{path}");
    }
    assert!(Router::new([templated("a", "/{x}/a"), templated("b", "/{y}/a")]).is_err());
}
