//! How commands reach the memory of tokens: through the server that runs over the state folder, or in its place where none
//! does. Between the two there is no gap: the lock of the folder says who may.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::Failed;
use crate::clock::{Clock, Stopwatch};
use crate::config::Loaded;
use crate::server::control;
use crate::server::control::book::Book;
use crate::server::control::wire::{Command, Message};
use crate::state::{LockError, StateLock};
use crate::store::{Embedded, Store};

/// How long a server is waited for that has the state but does not answer, as between two processes in a takeover.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Has it done, and tells what came of it.
pub(super) fn ask(loaded: &Loaded, command: &Command) -> Result<Message, Failed> {
    let watch = Stopwatch::start();
    loop {
        let hindrance = match through_the_server(loaded, command) {
            Ok(Message::Refused(why)) => return Err(Failed::Other(why)),
            Ok(Message::AskAgain) => "its store is closed".to_owned(),
            Ok(answer) => return Ok(answer),
            Err(error) => match StateLock::take(&loaded.state) {
                Ok(lock) => return in_its_place(loaded, command, lock),
                Err(LockError::Held(_)) => error.to_string(),
                Err(error) => return Err(Failed::Other(format!("{}: {error}", loaded.state.display()))),
            },
        };
        if watch.elapsed() > PATIENCE {
            let state = loaded.state.display();
            return Err(Failed::Other(format!(
                "the process that has {state} does not do it: {hindrance}"
            )));
        }
        std::thread::sleep(TRY_AGAIN);
    }
}

fn through_the_server(loaded: &Loaded, command: &Command) -> std::io::Result<Message> {
    let mut wire = control::connect(&loaded.state, PATIENCE)?;
    wire.send(&Message::Command(command.clone()), &[])?;
    Ok(wire.receive()?.0)
}

fn in_its_place(loaded: &Loaded, command: &Command, lock: StateLock) -> Result<Message, Failed> {
    let clock = Clock::system();
    let embedded = Embedded::open(&loaded.store, clock.clone())
        .map_err(|error| Failed::Other(format!("{}: {error}", loaded.state.display())))?;
    let store = Arc::new(Store::Embedded(embedded));
    let names = Arc::clone(&loaded.store.log_key);
    let book = Book::new(
        Arc::new(ArcSwapOption::new(Some(Arc::clone(&store)))),
        names,
        clock,
    );
    let answer = book.answer(command);
    store.close();
    // Only now may a server open it.
    drop(lock);
    match answer {
        Message::Refused(why) => Err(Failed::Other(why)),
        Message::AskAgain => Err(Failed::Other("the store is closed".into())),
        answer => Ok(answer),
    }
}
