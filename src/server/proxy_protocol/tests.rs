//! Headers as the specification has them, cut and broken in every place.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = V2.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend(block);
    header
}

const TCP4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xbb];

fn tcp4(vectors: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&TCP4, vectors].concat())
}

fn tcp6() -> Vec<u8> {
    let mut block = Vec::new();
    block.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    block.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    block.extend([0x30, 0x39, 0x01, 0xbb]);
    v2(0x21, 0x21, &block)
}

/// With a right checksum behind the addresses.
fn summed() -> Vec<u8> {
    let mut header = tcp4(&[CRC32C, 0, 4, 0, 0, 0, 0]);
    let at = header.len() - 4;
    let sum = crc32c(&header, at);
    header[at..].copy_from_slice(&sum.to_be_bytes());
    header
}

fn from(client: &str) -> Source {
    Source::Client(client.parse().unwrap())
}

#[test]
fn the_checksum_is_the_one_of_the_standard() {
    // The check value of the catalogue of CRCs, and RFC 3720 §B.4: 32 bytes of 0xff.
    assert_eq!(crc32c(b"123456789", 100), 0xe306_9283);
    assert_eq!(crc32c(&[0xff; 32], 100), 0x62a8_ab43);
    assert_eq!(
        crc32c(&[0xff, 0xff, 7, 7, 7, 7], 2),
        crc32c(&[0xff, 0xff, 0, 0, 0, 0], 100)
    );
}

#[test]
fn headers_that_are_right_name_the_client_or_the_peer() {
    let ssl = [SSL, 0, 9, 1, 0, 0, 0, 0, 0x21, 0, 1, b'x'];
    for (header, source) in [
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.1 12345 443\r\n".to_vec(),
            from("192.0.2.1:12345"),
        ),
        (
            b"PROXY TCP4 255.255.255.254 255.255.255.255 65535 65535\r\n".to_vec(),
            from("255.255.255.254:65535"),
        ),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n".to_vec(),
            from("[2001:db8::1]:12345"),
        ),
        (
            b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n".to_vec(),
            from("192.0.2.1:1"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), Source::Peer),
        (
            b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".to_vec(),
            Source::Peer,
        ),
        (tcp4(&[]), from("192.0.2.1:12345")),
        (tcp4(&[0x04, 0, 2, 0, 0]), from("192.0.2.1:12345")),
        (tcp4(&[0xea, 0, 1, 1, 0x02, 0, 0]), from("192.0.2.1:12345")),
        (tcp4(&ssl), from("192.0.2.1:12345")),
        (tcp6(), from("[2001:db8::1]:12345")),
        (summed(), from("192.0.2.1:12345")),
        (v2(0x20, 0x00, &[]), Source::Peer),
        (v2(0x20, 0x11, &TCP4), Source::Peer),
        (v2(0x20, 0xff, &[1, 2, 3]), Source::Peer),
    ] {
        let shown = String::from_utf8_lossy(&header).into_owned();
        assert_eq!(parse(&header), Ok(Step::Whole(header.len(), source)), "{shown}");
        let followed = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&followed), Ok(Step::Whole(header.len(), source)), "{shown}");
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(Step::Part), "{shown} after {cut} bytes");
        }
    }
}

#[test]
fn p32_broken_headers_are_refused() {
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92], b"\r\n".to_vec()].concat();
    assert_eq!(long.len(), MAX_LINE + 1);
    let mut wrong_sum = summed();
    *wrong_sum.last_mut().unwrap() ^= 1;
    let two_sums = tcp4(&[&summed()[V2_FIXED + 12..], &summed()[V2_FIXED + 12..]].concat());
    for header in [
        b"PROXY TCP4 192.0.2.1 198.51.100.1 12345 443\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 12345 443\rX".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 12345\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 12345 443 1\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 12345 443 \r\n".to_vec(),
        b"PROXY TCP4  192.0.2.1 198.51.100.1 12345 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.01 198.51.100.1 12345 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 012345 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 localhost 1 2\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n".to_vec(),
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n".to_vec(),
        b"PROXY TCP4 0.0.0.0 198.51.100.1 1 2\r\n".to_vec(),
        b"PROXY TCP4 224.0.0.1 198.51.100.1 1 2\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n".to_vec(),
        b"PROXY tcp4 192.0.2.1 198.51.100.1 1 2\r\n".to_vec(),
        b"PROXY \r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1\0 198.51.100.1 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1\xff 198.51.100.1 1 2\r\n".to_vec(),
        long,
        [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(),
        v2(0x11, 0x11, &TCP4),
        v2(0x22, 0x11, &TCP4),
        v2(0x21, 0x11, &TCP4[..11]),
        v2(0x21, 0x21, &TCP4),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x12, &TCP4),
        v2(0x21, 0x31, &[b'/'; 216]),
        v2(0x21, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; MAX_HEADER]),
        tcp4(&[0x04]),
        tcp4(&[0x04, 0]),
        tcp4(&[0x04, 0, 2, 0]),
        tcp4(&[0x04, 0xff, 0xff, 0]),
        tcp4(&[CRC32C, 0, 3, 0, 0, 0]),
        tcp4(&[CRC32C, 0, 4, 0, 0, 0, 0]),
        tcp4(&[SSL, 0, 4, 1, 0, 0, 0]),
        tcp4(&[SSL, 0, 8, 1, 0, 0, 0, 0, 0x21, 0, 1]),
        tcp4(&[&[UNIQUE_ID, 0, 129][..], &[1; 129]].concat()),
        wrong_sum,
        two_sums,
    ] {
        assert_eq!(
            parse(&header),
            Err(Fault::Bad),
            "{:?}",
            String::from_utf8_lossy(&header)
        );
    }
}

#[test]
fn what_is_no_header_is_seen_at_the_first_byte_that_differs() {
    for (bytes, known_after) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"PRI * HTTP/2.0\r\n", 3),
        (b"PROXY\tTCP4", 6),
        (b"proxy TCP4", 1),
        (b"\x16\x03\x01", 1),
        (b"\r\n\r\nGET / HTTP/1.1", 5),
    ] {
        assert_eq!(parse(&bytes[..known_after - 1]), Ok(Step::Part), "{bytes:?}");
        assert_eq!(parse(&bytes[..known_after]), Err(Fault::Missing), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_a_verdict_stands_whatever_follows(
        signed in any::<Option<bool>>(), bytes in prop::collection::vec(any::<u8>(), 0..300), more in any::<[u8; 8]>()
    ) {
        let signature = match signed { None => &b""[..], Some(true) => V1, Some(false) => V2 };
        let bytes = [signature, &bytes].concat();
        match parse(&bytes) {
            Ok(Step::Part) => prop_assert!(bytes.len() < MAX_HEADER),
            Ok(Step::Whole(length, _)) => {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(parse(&bytes[..length]), parse(&bytes));
                prop_assert_eq!(parse(&[&bytes[..], &more].concat()), parse(&bytes));
            }
            Err(fault) => prop_assert_eq!(parse(&[&bytes[..], &more].concat()), Err(fault)),
        }
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

#[tokio::test]
async fn not_one_byte_behind_the_header_is_taken_however_it_comes() {
    let request = b"GET / HTTP/1.1\r\n";
    let large = tcp4(&[&[0xea, 0x0b, 0xb8][..], &[7; 3000]].concat());
    for header in [
        b"PROXY TCP4 192.0.2.1 198.51.100.1 12345 443\r\n".to_vec(),
        summed(),
        large,
    ] {
        for piece in [1, 7, header.len(), header.len() + request.len()] {
            let (mut client, mut stream) = pair().await;
            let sent = [&header[..], request].concat();
            let write = async {
                for piece in sent.chunks(piece) {
                    client.write_all(piece).await.unwrap();
                    client.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let (source, ()) = tokio::join!(read(&mut stream, Duration::from_secs(20)), write);
            assert_eq!(source, Ok(from("192.0.2.1:12345")));
            drop(client);
            let mut behind = Vec::new();
            stream.read_to_end(&mut behind).await.unwrap();
            assert_eq!(behind, request);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn p32_half_a_header_is_given_up_in_time() {
    for half in [&b""[..], b"PROXY TCP4 192.0", &V2[..5], &summed()[..20]] {
        let (mut client, mut stream) = pair().await;
        client.write_all(half).await.unwrap();
        let start = tokio::time::Instant::now();
        assert_eq!(read(&mut stream, Duration::from_secs(5)).await, Err(Fault::Late));
        assert_eq!(start.elapsed().as_secs(), 5);
    }
    for (said, fault) in [(&b""[..], Fault::Silent), (b"PROXY TCP4 192.0", Fault::Bad)] {
        let (mut client, mut stream) = pair().await;
        client.write_all(said).await.unwrap();
        drop(client);
        assert_eq!(read(&mut stream, Duration::from_secs(5)).await, Err(fault));
    }
}
