//! The memory of tokens, for who asks from outside of the server: over the control socket, or in the server's place where
//! none runs. Answers when what was asked for is durable and in force.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::orders::{Order, Withdrawal};
use super::wire::{Command, Hidden, Message};
use crate::clock::Clock;
use crate::store::{Store, StoreError};
use crate::token::keys::LogKey;
use crate::token::scheme::opaque::Handle;

/// How long the store is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The store, as far as it is open.
pub struct Book {
    store: Arc<ArcSwapOption<Store>>,
    names: Arc<LogKey>,
    clock: Clock,
}

/// Why it was not done, as far as that is known.
struct NotDone(Box<Message>);

impl From<StoreError> for NotDone {
    fn from(error: StoreError) -> Self {
        let message = match error {
            // Another process has it in a moment.
            StoreError::Closed => Message::AskAgain,
            error @ (StoreError::Full | StoreError::Unavailable(_)) => Message::Refused(error.to_string()),
        };
        Self(Box::new(message))
    }
}

impl From<&'static str> for NotDone {
    fn from(what: &'static str) -> Self {
        Self(Box::new(Message::Refused(what.to_owned())))
    }
}

impl Book {
    /// Over the store that is there at the time of each question; `names` names tokens.
    pub fn new(store: Arc<ArcSwapOption<Store>>, names: Arc<LogKey>, clock: Clock) -> Self {
        Self { store, names, clock }
    }

    /// Does what is asked for and says what came of it. Blocks until the store has it; not for a thread of a runtime.
    pub fn answer(&self, command: &Command) -> Message {
        let done = match command {
            Command::Revoke(withdrawal) => self.withdraw(withdrawal),
            Command::Issue(order) => self.issue(order),
            Command::Status | Command::Takeover => Err("not a question for the store".into()),
        };
        done.unwrap_or_else(|NotDone(why)| *why)
    }

    fn withdraw(&self, withdrawal: &Withdrawal) -> Result<Message, NotDone> {
        let revocation = withdrawal.read()?;
        wait(self.store()?.revoke(revocation))?;
        tracing::info!("withdrawn: {withdrawal}");
        Ok(Message::Withdrawn)
    }

    fn issue(&self, order: &Order) -> Result<Message, NotDone> {
        let handle = Handle::random().map_err(|_| "there are no random numbers")?;
        let id = handle.id(&self.names);
        let issued = order.read(id, self.clock.now())?;
        wait(self.store()?.remember(id, issued))?;
        tracing::info!(token_id = %id, subject = order.subject, "a token was issued");
        Ok(Message::Issued {
            id: id.to_string(),
            token: Hidden(handle.reveal().to_owned()),
        })
    }

    fn store(&self) -> Result<Arc<Store>, StoreError> {
        self.store.load_full().ok_or(StoreError::Closed)
    }
}

/// Waits on a thread of its own for what the store's thread does.
fn wait(done: impl Future<Output = Result<(), StoreError>>) -> Result<(), NotDone> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(|_| "there is no runtime to wait in")?;
    match runtime.block_on(async { tokio::time::timeout(PATIENCE, done).await }) {
        Ok(done) => Ok(done?),
        Err(_) => Err("the store takes too long; whether it is done is not known".into()),
    }
}
