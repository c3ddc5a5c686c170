//! What is said over `state/control.sock`: frames of a length and a JSON text, answered one by one; descriptors ride on
//! the frame that names them. Everything is bounded, and every frame says which version of this it is.
//!
//! ```text
//! frame    = length (4 bytes, big-endian, at most 64 KiB) text
//! text     = {"version": 1, "message": MESSAGE}
//! ```

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::orders::{Order, Withdrawal};

/// The version of this protocol. Both sides speak the same or part.
pub const VERSION: u32 = 1;

/// The largest text of a frame.
const MAX_TEXT: usize = 64 * 1024;

/// The most descriptors that ride on one frame; Linux carries 253 at most.
pub const MAX_SOCKETS: usize = 64;

/// All that is ever said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The first frame: what is wanted.
    Command(Command),
    /// The answer to `Command::Status`.
    Status(Status),
    /// It can't be done, and why: a sentence for people.
    Refused(String),
    /// Listening sockets, one descriptor each in this order. More frames like it follow unless it is the last.
    Sockets {
        /// Where they listen.
        sockets: Vec<Listening>,
        /// Whether these are the last.
        last: bool,
    },
    /// The new process could start at once: give it to me.
    Ready,
    /// The old process accepts no more and has let go of the state.
    Yours,
    /// The new process holds the state and accepts.
    Serving,
    /// The answer to `Command::Revoke`: durable, and in force.
    Withdrawn,
    /// The answer to `Command::Issue`.
    Issued {
        /// Its name in logs.
        id: String,
        /// The token, which the store knows by now.
        token: Hidden,
    },
    /// Nothing was done: another process is about to have the state. Ask again.
    AskAgain,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Who is it?
    Status,
    /// Let another process go on in your place.
    Takeover,
    /// Withdraw tokens.
    Revoke(Withdrawal),
    /// Issue an opaque token.
    Issue(Order),
}

/// A text that is not for logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// The version of the program.
    pub program: String,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Which door it leads to.
    pub door: Door,
    /// Where.
    pub address: SocketAddr,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The gate.
    Gate,
    /// The issuer.
    Issuer,
    /// Health and metrics.
    Admin,
}

#[derive(Serialize, Deserialize)]
struct Envelope<M> {
    version: u32,
    message: M,
}

/// The only member that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

/// One side of a conversation. Every wait in it ends.
#[derive(Debug)]
pub struct Wire(UnixStream);

impl Wire {
    /// Over this connection; each frame is waited for no longer than `patience`.
    ///
    /// # Errors
    /// Of the socket.
    pub fn new(stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        let wire = Self(stream);
        wire.set_patience(patience)?;
        Ok(wire)
    }

    /// Waits for frames so long from now on.
    ///
    /// # Errors
    /// Of the socket.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.set_write_timeout(Some(patience))
    }

    /// Says something, with the descriptors that it names.
    ///
    /// # Errors
    /// Of the socket; a text or a number of descriptors beyond the bounds.
    pub fn send(&mut self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let version = VERSION;
        let text = serde_json::to_vec(&Envelope { version, message })?;
        if text.len() > MAX_TEXT || descriptors.len() > MAX_SOCKETS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let length = u32::try_from(text.len()).map_err(io::Error::other)?.to_be_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let sent = sendmsg(
            &self.0,
            &[IoSlice::new(&length)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        self.0.write_all(&length[sent..])?;
        self.0.write_all(&text)
    }

    /// Hears something, with its descriptors.
    ///
    /// # Errors
    /// Of the socket, also when the wait is over or the other side is gone; `InvalidData` for what is no frame of this
    /// version.
    pub fn receive(&mut self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut length)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(invalid("more descriptors than a frame may have"));
        }
        self.0.read_exact(&mut length[received.bytes..])?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_TEXT {
            return Err(invalid("a frame of more than 64 KiB"));
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text)?;
        let AnyVersion { version } = serde_json::from_slice(&text).map_err(|_| invalid("no frame"))?;
        if version != VERSION {
            let what = format!("version {version} of the control protocol, not {VERSION}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        let Envelope { message, .. } =
            serde_json::from_slice(&text).map_err(|_| invalid("a message that is not known here"))?;
        Ok((message, descriptors))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::super::orders::Purpose;
    use super::*;

    fn pair() -> (Wire, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        (Wire::new(one, Duration::from_millis(200)).unwrap(), other)
    }

    #[test]
    fn a_socket_arrives_with_the_frame_that_names_it_and_still_listens() {
        let (mut here, other) = pair();
        let mut there = Wire::new(other, Duration::from_secs(10)).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let message = Message::Sockets {
            sockets: vec![Listening {
                door: Door::Gate,
                address: socket.local_addr().unwrap(),
            }],
            last: true,
        };
        here.send(&message, &[socket.as_fd()]).unwrap();
        let (heard, mut descriptors) = there.receive().unwrap();
        assert_eq!(heard, message);
        let passed = TcpListener::from(descriptors.pop().unwrap());
        assert!(descriptors.is_empty());
        let address = socket.local_addr().unwrap();
        drop(socket);
        let _client = std::net::TcpStream::connect(address).unwrap();
        passed.accept().unwrap();
    }

    #[test]
    fn what_is_no_frame_is_refused_and_silence_ends() {
        let hear = |bytes: &[u8]| {
            let (mut here, mut other) = pair();
            other.write_all(bytes).unwrap();
            here.receive().unwrap_err().kind()
        };
        let frame =
            |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
        assert_eq!(hear(&[0, 1, 0, 1]), io::ErrorKind::InvalidData);
        assert_eq!(hear(&frame("{}")), io::ErrorKind::InvalidData);
        assert_eq!(
            hear(&frame(r#"{"version":1,"message":"nonsense"}"#)),
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            hear(&frame(r#"{"version":2,"message":{"new":1}}"#)),
            io::ErrorKind::Unsupported
        );
        assert_eq!(hear(&[0, 0]), io::ErrorKind::WouldBlock);
        assert_eq!(hear(&[0, 0, 0, 9, b'{']), io::ErrorKind::WouldBlock);
        let (mut here, other) = pair();
        drop(other);
        assert_eq!(here.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_texts_are_pinned() {
        let text = |message| {
            serde_json::to_string(&Envelope {
                version: VERSION,
                message,
            })
            .unwrap()
        };
        assert_eq!(
            text(Message::Command(Command::Takeover)),
            r#"{"version":1,"message":{"command":"takeover"}}"#
        );
        assert_eq!(text(Message::Ready), r#"{"version":1,"message":"ready"}"#);
        assert_eq!(text(Message::Yours), r#"{"version":1,"message":"yours"}"#);
        assert_eq!(text(Message::Serving), r#"{"version":1,"message":"serving"}"#);
        for (withdrawal, written) in [
            (
                Withdrawal::Token {
                    id: "0f".repeat(16),
                    expires: None,
                },
                r#"{"token":{"id":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","expires":null}}"#,
            ),
            (
                Withdrawal::Subject {
                    subject: "42".into(),
                    before: 1000,
                },
                r#"{"subject":{"subject":"42","before":1000}}"#,
            ),
            (Withdrawal::Key { kid: "k".into() }, r#"{"key":{"kid":"k"}}"#),
        ] {
            assert_eq!(
                text(Message::Command(Command::Revoke(withdrawal))),
                format!(r#"{{"version":1,"message":{{"command":{{"revoke":{written}}}}}}}"#)
            );
        }
        assert_eq!(text(Message::Withdrawn), r#"{"version":1,"message":"withdrawn"}"#);
        let order = Order {
            purposes: vec![Purpose::File, Purpose::Login],
            expires: 5000,
            once: true,
            subject: Some("42".into()),
            paths: vec!["/a".into()],
            media: Some("7".into()),
            methods: Some(vec!["GET".into()]),
            addresses: Some(vec!["192.0.2.0/24".into()]),
            filename: Some("a.pdf".into()),
            rate: None,
            streams: None,
        };
        assert_eq!(
            text(Message::Command(Command::Issue(order))),
            concat!(
                r#"{"version":1,"message":{"command":{"issue":{"purposes":["file","login"],"expires":5000,"#,
                r#""once":true,"subject":"42","paths":["/a"],"media":"7","methods":["GET"],"#,
                r#""addresses":["192.0.2.0/24"],"filename":"a.pdf"}}}}"#
            )
        );
        let issued = Message::Issued {
            id: "0f".into(),
            token: Hidden("f0".into()),
        };
        assert_eq!(format!("{issued:?}"), "Issued { id: \"0f\", token: Hidden(…) }");
        assert_eq!(
            text(issued),
            r#"{"version":1,"message":{"issued":{"id":"0f","token":"f0"}}}"#
        );
        assert_eq!(text(Message::AskAgain), r#"{"version":1,"message":"ask_again"}"#);
    }
}
